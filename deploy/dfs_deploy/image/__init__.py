"""The one image of all roles: made from the installed packages, without a checkout and without a network inside."""
