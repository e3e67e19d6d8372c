def attack_lock(profile):
    from tests.torture.outcome import Outcome
    return Outcome("l", unit="x")
