"""Optuna's own test cases for samplers, on the samplers of a shared study."""
import math
from functools import partial

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.testing import pytest_samplers
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase
from optuna.testing.pytest_samplers import RelativeSamplerTestCase, SingleOnlySamplerTestCase

from cosine_lr.lab.study import SimulatedAnnealingSampler, make_sampler
from cosine_lr.schedule import constant

METHODS = ['annealing', 'random', 'tpe']


def ready_tpe(**options):
    "The TPE sampler with options of its own"
    sampler = make_sampler('tpe', 50, 0)
    sampler.make = partial(sampler.make, **options)
    return sampler


def samplers(*makers):
    "A fixture: functions that make a sampler"
    return pytest.fixture(params=makers)(lambda self, request: request.param)


annealing, rand, tpe = (partial(make_sampler, method, 50, 0) for method in METHODS)
at_once = partial(ready_tpe, n_startup_trials=0)  # relates from the first trial on


class TestBasic(BasicSamplerTestCase): sampler = samplers(annealing, rand, tpe, at_once)
class TestRelative(RelativeSamplerTestCase): sampler = samplers(annealing, at_once)  # not for random
class TestSeveralObjectives(MultiObjectiveSamplerTestCase): sampler = samplers(rand, tpe, at_once)
class TestOneObjective(SingleOnlySamplerTestCase): sampler = samplers(annealing)


class TestHot(BasicSamplerTestCase, RelativeSamplerTestCase):
    @pytest.fixture
    def sampler(self): return partial(SimulatedAnnealingSampler, 50, temperature=constant(3), accept=.9)


def test_all_cases_that_optuna_offers_are_here():
    public = {name: case for name, case in vars(pytest_samplers).items() if not name.startswith('_')}
    offered = {case for name, case in public.items() if name.endswith('TestCase')}
    ours = [case for name, case in globals().items() if name.startswith('Test')]
    assert offered == {base for case in ours for base in case.__bases__}
    assert not any(name.startswith('test') for case in ours for name in vars(case))  # none is overridden


def bowl(trial):
    x, lr = trial.suggest_float('x', -5, 5), trial.suggest_float('lr', 1e-4, 1e2, log=True)
    return (x - 2)**2 + (math.log10(lr) + 1)**2


# --- draws depend on the seed, the trial's number and the parameter's name alone ---

def together(make):
    "Parameters of four trials that are asked for at once, first to last and last to first"
    for order in (1, -1):
        study = optuna.create_study(sampler=make())
        for _ in range(20): study.tell(study.ask(), 1.)
        trials = [study.ask() for _ in range(4)]
        for trial in trials[::order]: bowl(trial)
        yield [trial.params for trial in trials]


@pytest.mark.parametrize('make', [annealing, rand, partial(ready_tpe, constant_liar=False)])
def test_who_draws_first_changes_nothing(make):  # the liar reads what others try at the moment
    forward, backward = together(make)
    assert forward == backward and len({params['x'] for params in forward}) == 4


def test_threads_draw_what_one_thread_draws():
    def drawn(n_jobs):
        study = optuna.create_study(sampler=make_sampler('random', 50, 0))
        study.optimize(bowl, 30, n_jobs=n_jobs)
        return [trial.params for trial in study.trials]
    assert drawn(1) == drawn(4)


@pytest.mark.parametrize('method', METHODS)
def test_a_sampler_whose_numbers_begin_anew_goes_on_alike(method):
    sampler, study = make_sampler(method, 50, 0), optuna.create_study()
    def draw(trial): return sampler.sample_independent(study, trial, 'x', FloatDistribution(0, 1))
    trial = optuna.create_study().ask()._get_latest_trial()
    first = draw(trial)
    sampler.reseed_rng()  # as Optuna calls it before it uses threads
    assert draw(trial) == first
    other = make_sampler(method, 50, 1)
    assert other.sample_independent(study, trial, 'x', FloatDistribution(0, 1)) != first


@pytest.mark.parametrize('method', METHODS)
def test_parameters_of_a_trial_are_drawn_independently(method):
    study = optuna.create_study(sampler=make_sampler(method, 50, 0))
    trial = study.ask(dict(x=FloatDistribution(0, 1), y=FloatDistribution(0, 1), k=IntDistribution(0, 999)))
    assert len({trial.params['x'], trial.params['y'], trial.params['k']/1000}) == 3
