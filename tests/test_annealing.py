"Wrong calls of the annealing engine and the search for a schedule, and chains that have nowhere good to be."
import math

import numpy as np
import pytest

from cosine_lr import Annealer, KnotSpace, anneal, constant, cosine, point_of, search_schedule
from cosine_lr.data import DataLoaders, digits_dls


def step(x, rng): return x + rng.gauss(0, 1)


def told(search, *energies):
    for e in energies: search.tell(e)
    return search


def test_a_chain_that_starts_lost_takes_the_first_way_out():
    search = Annealer([0., 0.], step, steps=3, accept=None)
    for energies in ([math.nan, 1.], [math.inf, math.nan], [5., math.inf]): told(search, energies).ask()
    assert np.array_equal(search.result().history['energy'], [[math.inf, 1], [math.inf, 1], [5, 1]])


def test_a_refused_answer_can_be_given_again():
    search, same = Annealer([5.], step, steps=40), Annealer([5.], step, steps=40)
    asked = search.ask()
    with pytest.raises(ValueError, match='1 numbers'): search.tell(['low'])
    assert search.ask() == asked
    for s in (search, same):
        while not s.done: s.tell([x**2 for x in s.ask()])
    assert search.result().history['state'] == same.result().history['state']


@pytest.mark.parametrize('wrong, name', [
    (lambda: Annealer(5., step), 'starts'), (lambda: Annealer([], step), 'starts'), (lambda: Annealer([5.], 7), 'neighbour'),
    (lambda: Annealer([5.], step, temperature=1), 'temperature'), (lambda: Annealer([5.], step, temperature=cosine), 'gives|temperature'),
    (lambda: Annealer([5.], step, temperature=cosine(1, -1)), 'temperature'), (lambda: Annealer([5.], step, temperature=lambda pos: math.nan), 'temperature'),
    (lambda: Annealer([5.], step, steps=20), 'steps'), (lambda: Annealer([5.], step, steps=40.), 'steps'), (lambda: Annealer([5.], step, accept=50), 'accept'),
    (lambda: Annealer([5.], step, ladder=.5), 'ladder'), (lambda: Annealer([5.], step).result(), 'nothing has been told'),
    (lambda: told(Annealer([5.], step), [1., 2.]), '1 numbers'), (lambda: told(Annealer([5.], step), 3.), '1 numbers'),
    (lambda: told(Annealer([5.], step), [-math.inf]), 'minus infinity'), (lambda: told(Annealer([5.], step), [1.], [2.]), 'follow an ask'),
    (lambda: anneal(3, 5., step), 'energy'), (lambda: anneal(abs, 5., step, patience=0), 'patience'),
    (lambda: anneal(lambda x: 1., 5., step, quiet=True), 'changes the energy'),
])
def test_wrong_calls_of_the_engine(wrong, name):
    with pytest.raises(ValueError, match=name): wrong()


def test_a_flat_energy_can_be_searched_with_a_temperature_in_its_units():
    assert anneal(lambda x: 1., 5., step, constant(1), 40, accept=None, quiet=True).energy == 1


@pytest.mark.parametrize('wrong, name', [
    (lambda: KnotSpace(knots=1), 'knots'), (lambda: KnotSpace(knots=True), 'knots'), (lambda: KnotSpace(peak=(1, .1)), 'peak'), (lambda: KnotSpace(peak=1.), 'peak'),
    (lambda: KnotSpace(floor=0), 'floor'), (lambda: KnotSpace(shortest=1), 'shortest'), (lambda: point_of(KnotSpace(), 100*cosine()), 'sched'),
])
def test_wrong_spaces(wrong, name):
    with pytest.raises(ValueError, match=name): wrong()


@pytest.mark.parametrize('wrong, name', [
    (dict(budget=20), 'budget'), (dict(budget=161), 'budget'), (dict(budget=160.), 'budget'), (dict(chains=0), 'chains'), (dict(seeds=0), 'seeds'), (dict(fresh=1), 'fresh'),
    (dict(finalists=0), 'finalists'), (dict(seed=-1), 'seed'), (dict(rivals=['grid']), 'rivals'), (dict(space={}), 'space'),
    (dict(dls=DataLoaders(digits_dls().train, digits_dls().valid)), 'test split'),
])
def test_wrong_searches_train_nothing(wrong, name):
    def make_model(): raise AssertionError('trained')
    with pytest.raises((ValueError, TypeError), match=name): search_schedule(**dict(make_model=make_model, dls=digits_dls(), quiet=True) | wrong)
