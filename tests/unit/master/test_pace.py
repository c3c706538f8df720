"""How fast copies may be made, and how fast they are."""

from dfs_master.pace import RateMeter, TokenBucket


def test_no_limit() -> None:
    """0 lets all pass."""
    bucket = TokenBucket()
    bucket.fill(0, 1.0)
    bucket.take(1 << 40)
    assert bucket.may(0)


def test_the_rate_is_kept_over_time() -> None:
    """However large the pieces: in 100 s no more than 100 s' worth, a burst and the last piece go through."""
    bucket, given = TokenBucket(), 0
    for tick in range(200):
        bucket.fill(1_000, tick * 0.5)
        while bucket.may(1_000):
            bucket.take(3_333)
            given += 3_333
    assert 95_000 <= given <= 100_000 + 2_000 + 3_333


def test_a_meter_forgets() -> None:
    """The rate is of late, counted from when the work began; without work there is none."""
    meter = RateMeter()
    assert meter.per_second(5.0) == 0.0
    meter.began(10.0)
    meter.add(3_000, 12.0)
    assert meter.per_second(13.0) == 1_000
    assert meter.per_second(60.0) == 0.0
    meter.add(3_000, 60.0)
    assert meter.per_second(61.0) == 100
    meter.idle()
    assert meter.per_second(61.0) == 0.0
