"""Projects with one guard taken out: the simulation finds fault with each, or it would prove nothing."""

import pytest
from virtual.mutants import MUTANTS
from virtual.run import simulate

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.race} {mutant.what}")
def test_it_is_found(mutant):
    for seed in mutant.seeds:
        outcome = simulate(seed, mutant.profile, mutate=mutant.mutate)
        if outcome.complaints:
            print(f"seed {seed}: {outcome.complaints[0]}")
            assert not simulate(seed, mutant.profile).complaints
            return
    pytest.fail(f"{mutant.what}: not found in {len(mutant.seeds)} lives of {mutant.profile}")
