"""One module a subject: requests in, replies out, no sockets and no SQL."""
