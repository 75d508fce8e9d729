"""The memory of decoded images is bounded, and nothing can wait for ever."""

import threading

import pytest

from ddbm_cli.imaging.memory import Budget


@pytest.mark.timeout(20)
def test_no_more_than_the_total_is_held_at_a_time():
    budget, held, most, lock = Budget(10), [0], [0], threading.Lock()

    def claim(amount):
        for _ in range(50):
            with budget.hold(amount):
                with lock:
                    held[0] += min(amount, 10)
                    most[0] = max(most[0], held[0])
                with lock:
                    held[0] -= min(amount, 10)

    threads = [threading.Thread(target=claim, args=(amount,)) for amount in (3, 4, 5, 10, 99)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= 10 and held[0] == 0


@pytest.mark.timeout(20)
def test_a_thread_may_claim_again_and_an_error_gives_back():
    budget = Budget(10)
    with budget.hold(10), budget.hold(10):
        pass
    with pytest.raises(ValueError, match="x"), budget.hold(10):
        raise ValueError("x")
    with budget.hold(10):
        pass
