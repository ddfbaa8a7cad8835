"""Do the intervals cover, and are false alarms rare, on recorded differences of real runs?

`data/differences.npz` holds 22 of them, near the edge of stability and below it, each on 48 splits of the
digits with 16 seeds. Their mean is taken for the truth; trials of a few splits and seeds are drawn from them.
"""
from pathlib import Path

import numpy as np
import pytest

from cosine_lr.lab import paired
from cosine_lr.lab.paired import _blow_ups, compare, holm, least_pairs, mean_test, plan_trial
from cosine_lr.lab.runs import Runs

RECORDED = dict(np.load(Path(__file__).parent/'data'/'differences.npz'))
RARE = {name for name in RECORDED if 'cosine@1.0 minus constant' in name}


def drawn(population, trials, rng, splits=8, seeds=8):
    "Trials [trials, splits, seeds] from a population [48, 16]: some splits, and some seeds of each"
    which = rng.integers(len(population), size=(trials, splits, 1))
    of_each = rng.random((trials, splits, population.shape[1])).argsort(2)[:, :, :seeds]
    return population[which, of_each].astype(float)


def covers(differences, truth):
    low, high = mean_test(differences)[0]
    return low <= truth <= high


def coverage(population, trials=2000, count_flagged=False):
    "How often the interval covers the mean; with `count_flagged`, or the trial is said to have rare blow-ups"
    rng, truth = np.random.default_rng(0), population.mean(dtype=float)
    good = [covers(t.mean(1), truth) or (count_flagged and _blow_ups(t.ravel()) > 0)
            for t in drawn(population, trials, rng)]
    return np.mean(good)


@pytest.mark.parametrize('name', sorted(RECORDED.keys() - RARE))
def test_the_interval_covers_the_mean_of_recorded_differences(name):
    assert .93 <= coverage(RECORDED[name]) <= .97


@pytest.mark.parametrize('name', sorted(RARE))
def test_where_rare_runs_blow_up_the_trial_covers_or_says_so(name):
    population = RECORDED[name]
    assert coverage(population) < .955 and coverage(population, count_flagged=True) >= .93


def test_the_worst_blow_ups_are_flagged_and_calm_differences_are_not():
    def flagged(name):
        trials = drawn(RECORDED[f'loss, {name}'], 500, np.random.default_rng(1))
        return np.mean([_blow_ups(t.ravel()) > 0 for t in trials])
    assert flagged('cosine@1.0 minus constant@1.0') > .9
    for calm in ('cosine@1.41 minus constant@1.41', 'wsd@1.41 minus cosine@1.41'): assert flagged(calm) < .05


@pytest.mark.parametrize('draw', [
    lambda rng, size: rng.normal(size=size), lambda rng, size: rng.standard_t(3, size),
    lambda rng, size: rng.gamma(4, size=size) - 4,
    lambda rng, size: rng.lognormal(0, .5, size) - np.exp(.125)])
def test_it_covers_skewed_simulated_ones(draw):
    rng = np.random.default_rng(2)
    split, seeds = draw(rng, (2000, 8, 1)), draw(rng, (2000, 8, 8))
    assert .93 <= np.mean([covers(t.mean(1), 0) for t in split + 2*seeds]) <= .97


@pytest.mark.slow
def test_pairs_of_all_splits_taken_as_alike_would_not_cover():  # a planted error: the splits left out
    short = [name for name, population in RECORDED.items()
             if np.mean([covers(t.ravel(), population.mean(dtype=float))
                         for t in drawn(population, 400, np.random.default_rng(0))]) < .92]
    assert len(short) >= 3


def two_levels(d, base=0.):
    "As `compare` takes them: differences [splits, seeds] from a rival whose scores are `base`"
    a = {(i, k): base + float(x) for (i, k), x in np.ndenumerate(d)}
    return dict(a=a, b=dict.fromkeys(a, base))


def test_the_sentence_never_contradicts_its_p():
    rng = np.random.default_rng(3)
    for population in RECORDED.values():
        for splits in (2, 5, 6, 8, 12, 20):
            c = compare(two_levels(drawn(population, 1, rng, splits)[0]), 'a', 'b')
            shown = c.finding.startswith(('a is lower', 'a is higher'))
            if splits < 6 and c.difference:
                assert c.finding == 'n too small to show anything: at least 6 splits'
            else: assert shown == (c.p < .05)
            if c.blow_ups: assert 'no interval' in c.sentence and '95 %' not in c.sentence
            elif splits >= 6: assert shown == (c.interval[0] > 0 or c.interval[1] < 0)
            assert f'median {c.median:+.4f}' in c.sentence and '% of the pairs' in c.sentence


def test_a_large_family_finds_a_large_effect():
    rng = np.random.default_rng(4)
    ps = [mean_test(rng.normal(size=64))[1] for _ in range(499)]
    assert holm([mean_test(rng.normal(3, size=64))[1], *ps])[0] < 1e-6
    assert least_pairs(family=500) == 15 and holm([2**-13., *ps])[0] > .05 > holm([2**-14., *ps])[0]


@pytest.mark.slow
def test_equal_schedules_win_at_most_once_in_twenty_families():
    rng, alarms = np.random.default_rng(5), []
    recorded = [population for name, population in RECORDED.items() if name.startswith('loss')]
    for _ in range(1000):  # trials of eleven questions; which of two rivals is called annealed is tossed up
        tossed = [drawn(population, 1, rng, 12, 8)[0]*rng.choice([-1, 1], (12, 1)) for population in recorded]
        alarms.append(min(holm([compare(two_levels(d), 'a', 'b').p for d in tossed])) < .05)
    assert np.mean(alarms) <= .064


@pytest.mark.parametrize('wrong', ['p from draws', 'one sided', 'too narrow'])
def test_planted_errors_are_seen(monkeypatch, wrong):
    flips, population = paired._by_flips, RECORDED['loss, cosine@1.41 minus constant@1.41']
    def broken(differences, level):
        if wrong == 'too narrow': level = .9
        (low, high), p = flips(differences, level)
        return ((low, high), p/2) if wrong == 'one sided' else ((low, high), max(p, .01))
    monkeypatch.setattr(paired, '_by_flips', broken)
    if wrong == 'too narrow': assert coverage(population, 1000) < .93
    if wrong == 'one sided':
        ps = [mean_test(d)[1] for d in np.random.default_rng(0).normal(size=(1000, 8))]
        assert np.mean(np.less(ps, .05)) > .07
    if wrong == 'p from draws': assert mean_test(np.ones(16))[1] > 2/2**16


def test_the_two_spreads_are_told_apart():
    rng = np.random.default_rng(6)
    sds = []
    for _ in range(200):
        c = compare(two_levels(rng.normal(0, .3, (12, 1)) + rng.normal(0, .5, (12, 8))), 'a', 'b')
        sds.append((c.sd_splits**2, c.sd_seeds**2))
    assert np.allclose(np.mean(sds, 0), [.09, .25], rtol=.1)
    apart = compare(two_levels(rng.normal(size=(9, 1)) + np.zeros((9, 3))), 'a', 'b')
    assert '100% of the spread between splits' in apart.sentence
    single = compare(two_levels(rng.normal(size=(9, 1))), 'a', 'b')
    assert np.isnan(single.sd_seeds) and '9 splits × 1 seeds' in single.sentence
    assert plan_trial(single, effect=.5)[0]['seeds'] == 1


def test_seeds_and_splits_are_matched_by_name():
    rng = np.random.default_rng(7)
    runs = two_levels(rng.normal(size=(6, 4)), 1.)
    turned = dict(a=dict(reversed(runs['a'].items())), b=runs['b'])
    assert compare(turned, 'a', 'b') == compare(runs, 'a', 'b')
    uneven = {name: {key: x for key, x in scores.items() if key != (2, 3)} for name, scores in runs.items()}
    with pytest.raises(ValueError, match='equally many seeds in every split'): compare(uneven, 'a', 'b')
    mixed = {name: scores | {7: 1.} for name, scores in runs.items()}
    with pytest.raises(ValueError, match='for all seeds or for none'): compare(mixed, 'a', 'b')


NAMES = dict(a='a', b='b')
SCORES = {name: {seed: (seed % 7)*.1 + (name == 'b') for seed in range(12)} for name in NAMES}
UNEVEN = {name: {(seed//5, seed): score for seed, score in SCORES[name].items()} for name in NAMES}
OTHER = {'a': SCORES['a'], 'b': {seed + 1: score for seed, score in SCORES['b'].items()}}
FOUR = {name: {seed: SCORES[name][seed] for seed in range(4)} for name in NAMES}
LOST = {'a': SCORES['a'], 'b': SCORES['b'] | {3: float('nan')}}
VALUES = {'train_loss': np.ones((2, 6, 2)), 'accuracy': np.ones((2, 6, 2)), 'lr': np.ones((2, 6, 2))}
RUNS = Runs(NAMES, range(6), VALUES, VALUES['train_loss'])


@pytest.mark.parametrize('runs, how, said', [
    (OTHER, {}, "'a' and 'b' must have the same seeds, to be paired; only one of them has seed 0"),
    (FOUR, {}, "'a' and 'b' must have at least 5 seeds in common, got n=4"),
    (LOST, {}, "valid_loss must be finite in every run of 'a' and 'b'; 1 of 12 diverged, such as seed 3"),
    (SCORES, dict(level=95), 'level must be a fraction between 0 and 1, got level=95'),
    (SCORES, dict(level='95'), "level must be a fraction between 0 and 1, got level='95'"),
    ({'a': [1.], 'b': [2.]}, {}, r"runs\['a'\] must be a dictionary {seed: score}, got runs\['a'\]=\[1.0\]"),
    (UNEVEN, {}, 'runs must have equally many seeds in every split, got {0: 5, 1: 5, 2: 2}'),
    (RUNS, dict(metric='loss'),
     r"metric must be one of \['train_loss', 'accuracy', 'lr'\], got metric='loss'"),
    (RUNS, dict(a='linear'), r"there is no schedule called 'linear'; choose from \['a', 'b'\]"),
    (RUNS, dict(metric='accuracy', epoch=7), 'epoch must be a whole number from -2 to 1, got epoch=7'),
    (RUNS, dict(metric='accuracy', epoch='last'), 'epoch must be a whole number from -2 to 1, got epoch='),
], ids=lambda x: x if isinstance(x, str) else '')
def test_what_is_not_paired_too_few_or_partly_lost_is_refused(runs, how, said):
    with pytest.raises(ValueError, match='^' + said): compare(runs, **NAMES | how)


def test_plans_and_corrections_of_nothing_are_refused():
    pilot = compare({name: {(s, k): (s*k % 5)*.1 + (name == 'b')*s for s in range(8) for k in range(2)}
                     for name in NAMES}, 'a', 'b', 'score')
    for wrong, said in ((dict(trial=.1), 'trial must be a Comparison, as compare gives, got trial=0.1'),
                        (dict(effect=0), 'effect must be a finite number, above 0, got effect=0'),
                        (dict(power=2), 'power must be a fraction between 0 and 1, got power=2')):
        with pytest.raises(ValueError, match='^' + said): plan_trial(**dict(trial=pilot, effect=.1) | wrong)
    for wrong in ([.01, 1.2], ['low'], .05):
        with pytest.raises(ValueError, match='^ps must be a list of numbers from 0 to 1, got'): holm(wrong)
