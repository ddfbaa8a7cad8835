"""Does the trial find what was hidden? Its runs are made up, so their best peaks and losses are known."""
import functools
import itertools

import numpy as np
import pytest
from scipy import stats

from cosine_lr import cosine, digits_dls
from cosine_lr.lab import trial
from cosine_lr.lab.cells import answer_here
from cosine_lr.lab.paired import holm
from cosine_lr.lab.runs import Runs
from cosine_lr.lab.trial import Regime

NAMES = list(trial.rivals())


def made_up(monkeypatch, loss):
    """Let `loss(name, peak, split, regime)`, a number or one for each epoch, plus the luck of the seed,
    stand in for training; returns the list of calls."""
    calls = []
    @functools.wraps(trial.run_regime) # cells know it by its name
    def run_regime(regime, scheds, seeds, split='test'):
        seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
        calls.append((regime, scheds, set(seeds), split))
        luck = np.random.default_rng(0).normal(0, .01, (len(seeds), 1))
        def measured(split): # [schedules, seeds, epochs]
            names = [text.split(' @ ')[0] for text in scheds]
            peaks = map(peak_of, scheds.values())
            losses = [loss(name, peak, split, regime) for name, peak in zip(names, peaks)]
            return np.stack([luck + its_loss + np.zeros(regime.epochs) for its_loss in losses])
        values = {'train_loss': measured('running'), f'{split}_loss': measured(split)}
        values['accuracy'] = 1 - 2*measured(split)
        values['lr'] = np.ones_like(values['accuracy'])
        formulas = {name: repr(sched) for name, sched in scheds.items()}
        return Runs(formulas, seeds, values, values['train_loss'])
    monkeypatch.setattr(trial, 'run_regime', run_regime)
    return calls


def rows_of(question, *args): return answer_here(question(*args))


def best_peaks(*args): return rows_of(trial._best_peaks, *args)


def peak_of(sched):
    peak, _ = sched.operands
    return peak


def far(peak, best): return np.log2(peak/best)**2


def test_the_peak_is_chosen_on_the_validation_split_at_the_end_with_seeds_of_its_own(monkeypatch):
    best = dict(constant=.5, cosine=1., wsd=2**-.5)
    def loss(name, peak, split, regime):
        if split != 'valid': return far(peak, 2**-1.5)              # who peeks chooses another peak
        return [far(peak, 2**.5) - 1, far(peak, best[name])]       # and so does who looks at an earlier epoch
    calls = made_up(monkeypatch, loss)
    assert best_peaks(Regime(epochs=2), list(best), 6) == best
    (_, _, seeds, split), = calls
    assert split == 'valid' and len(seeds) == 6 and min(seeds) >= 100_000


def test_a_peak_that_loses_a_run_is_not_chosen(monkeypatch):
    lossy = np.where(np.arange(6) == 2, np.nan, -9)[:, None]        # one of six, the others the best of all
    made_up(monkeypatch, lambda name, peak, split, regime: lossy if peak == 2**.5 else far(peak, .5))
    assert best_peaks(Regime(epochs=1), ['constant', 'cosine'], 6) == dict(constant=.5, cosine=.5)


def test_the_verdict_is_on_the_test_split_with_other_seeds_than_the_choice(monkeypatch):
    best = dict(linear=2**-1.5, constant=.5)
    def loss(name, peak, split, regime):
        k, its_best = NAMES.index(name), best.get(name, 1)
        return dict(running=9, train=.3 - .02*k, valid=far(peak, its_best), test=.5 - .05*k)[split]
    calls = made_up(monkeypatch, loss)
    rows = {(row['a'], row['metric']): row for row in rows_of(trial._against_constant, Regime(epochs=2), 8)}
    assert len(rows) == 7*4 and {name for name, _ in rows} == set(NAMES) - {'constant'}
    assert {row['b'] for row in rows.values()} == {'constant'}
    step = dict(test_loss=-.05, accuracy=.1, train_loss=-.02, gap=-.03)
    for (name, metric), row in rows.items():
        assert np.isclose(row['difference'], step[metric]*NAMES.index(name)) and row['n'] == 8
        assert np.isclose(row['mean_a'] - row['mean_b'], row['difference']) and row['p'] < .05
        assert row['at_edge'] == (name == 'linear')
    (choosing, _), *judged = [(seeds, split) for _, _, seeds, split in calls]
    assert sorted(split for _, split in judged) == ['test', 'train']
    assert all(seeds == set(range(8)) and not seeds & choosing for seeds, _ in judged)
    assert rows['coded', 'gap']['peak'] == .5                       # the constant rate's own


def test_epochs_until_the_constant_rates_best_are_counted_from_one(monkeypatch):
    whole = {'constant': [.9, .8, .7, .6, .5, .2, .25, .3],     # its best comes in the sixth of eight epochs,
             'cosine': [.9, .8, .1, .5, .4, .4, .4, .28],     # is passed in the third: not in less than half,
             'wsd': [.9, .1, .8, .5, .4, .4, .4, .26]}              # and in the second: in less than half
    ends = {'cosine': .45, 'wsd': .35}                              # of half the horizon
    def loss(name, peak, split, regime):
        if regime.epochs == 8: return far(peak, 1.) + np.array(whole[name])
        return far(peak, .5) + ends[name]                           # half the horizon has its own best peak
    calls = made_up(monkeypatch, loss)
    rows = rows_of(trial._in_half_the_epochs, Regime(epochs=8), 8)
    rows = {(row['a'], row['b'].split()[1], row['trained']): row for row in rows}
    assert rows.keys() == set(itertools.product(ends, ('best', 'last'), (8, 4)))
    for (name, which, trained), row in rows.items():
        end, rival = (whole[name][-1] if trained == 8 else ends[name]), dict(best=.2, last=.3)[which]
        assert np.isclose(row['difference'], end - rival)
        assert (row['peak'], row['at_edge']) == (1. if trained == 8 else .5, False)
        assert row['best_epoch'] == 6 and row['passed'] == 1
        assert row['median_first'] == dict(cosine=3, wsd=2)[name] and row['early'] == (name == 'wsd')
    low, high = stats.beta.ppf([.025, .975], [8, 1], [1, 8])       # Clopper and Pearson: of 8 in 8, of 0 in 8
    assert np.isclose(rows['wsd', 'best', 8]['early_low'], low)
    assert np.isclose(rows['cosine', 'best', 8]['early_high'], high)
    on_test = [(seeds, set(map(peak_of, scheds.values())))
               for _, scheds, seeds, split in calls if split == 'test']
    assert on_test == [(set(range(8)), {1.}), (set(range(8)), {.5})]
    assert all(min(seeds) >= 100_000 for _, _, seeds, split in calls if split == 'valid')


def test_a_run_that_never_passes_is_not_early(monkeypatch):
    made_up(monkeypatch, lambda name, peak, split, regime: [.2, .1, .1, .1] if name == 'constant' else .3)
    for row in rows_of(trial._in_half_the_epochs, Regime(epochs=4), 8):
        assert (row['passed'], row['early'], row['median_first']) == (0, 0, np.inf)


def test_means_of_each_peak_have_a_95_percent_interval(monkeypatch):
    made_up(monkeypatch, lambda name, peak, split, regime: [7, NAMES.index(name) + peak])
    rows = rows_of(trial._at_each_peak, Regime(epochs=2), 64)
    luck = np.random.default_rng(0).normal(0, .01, 64)
    low, high = stats.t.interval(.95, 63, luck.mean(), stats.sem(luck))
    assert len(rows) == 7*5*2
    for row in rows:
        true = NAMES.index(row['schedule']) + row['peak']
        off, factor = (0, 1) if row['metric'] == 'test_loss' else (1, -2)
        assert np.isclose(row['mean'], off + factor*(true + luck.mean()), atol=2e-2) and row['n'] == 64
        ends = sorted((row[end] - row['mean'])/factor for end in ('low', 'high'))
        assert np.allclose(ends, [low - luck.mean(), high - luck.mean()], atol=4e-4)


def test_the_map_compares_at_the_same_peak_and_says_where_annealing_hurts(monkeypatch):
    def loss(name, peak, split, regime):
        if name == 'constant': return peak
        return peak*(1.5 if peak < .4 else .5)
    made_up(monkeypatch, loss)
    rows = trial._with_holm(rows_of(trial._at_the_same_peak, Regime(epochs=2), 16))
    assert len(rows) == 2*4
    for row in rows:
        gain = -.5 if row['peak'] < .4 else .5
        assert np.isclose(row['difference'], row['peak']*gain*dict(test_loss=-1, accuracy=2)[row['metric']])
        assert row['verdict'] == ('higher' if (gain > 0) == (row['metric'] == 'accuracy') else 'lower')
    colours = [patch.get_facecolor()[:3] for ax in trial._draw_map(rows) for patch in ax.patches]
    assert [r > b for r, g, b in colours] == [True, False, False, False]*2  # orange where it hurts, else blue


def test_verdicts_follow_holm_over_the_whole_family_and_the_sign():
    found = (.04, 1), (.001, -1), (.01, 1), (.03, -1)
    rows = [dict(p=p, difference=d, units=64, blow_ups=0) for p, d in found]
    rows = trial._with_holm(rows)
    assert np.allclose([row['p_holm'] for row in rows], [.06, .004, .03, .06])
    assert [row['verdict'] for row in rows] == ['not shown', 'lower', 'higher', 'not shown']


def test_holms_family_is_an_answers_rows_of_all_regimes(monkeypatch, tmp_path):
    made_up(monkeypatch, lambda name, peak, split, regime: peak + .001*(name == 'cosine'))
    plan = {'regimes': [Regime(bs=bs, epochs=1) for bs in (16, 64)]}
    rows = trial.run_trial(8, tmp_path, quiet=True, plan=plan)['regimes']
    assert len(rows) == 16 and [row['p_holm'] for row in rows] == holm([row['p'] for row in rows]).tolist()


def test_over_splits_a_split_counts_once_and_peaks_are_matched_by_the_mean_rate(monkeypatch):
    def loss(name, peak, split, regime): return regime.split/8 + (peak/2 if name == 'cosine' else peak)
    calls = made_up(monkeypatch, loss)
    rows = trial._with_holm(rows_of(trial._over_splits, Regime(epochs=1), 64))
    assert len(rows) == 14 and all((row['n'], row['units']) == (48, 12) for row in rows)
    of = {(row['kind'], row['flat']): row for row in rows if row['metric'] == 'test_loss'}
    for flat in (.25, .5, 1.):
        at_peak, at_mean = (of[f'same {what}', flat] for what in ('peak', 'mean rate'))
        assert at_peak['verdict'] == 'lower' and np.isclose(at_peak['difference'], -flat/2)
        assert (at_mean['verdict'], at_mean['difference'], at_mean['peak']) == ('not shown', 0, 2*flat)
    (_, _, choosing, part), *judged = calls
    assert part == 'valid' and [regime.split for regime, *_ in judged] == list(range(12))
    assert all(seeds == set(range(4)) and not seeds & choosing for _, _, seeds, _ in judged)


def test_where_n_is_too_small_for_the_family_the_verdict_says_so():
    rows = [dict(p=2/2**8, difference=-1, units=8, blow_ups=0) for _ in range(16)]
    assert {row['verdict'] for row in trial._with_holm(rows)} == {'n too small: at least 10'}
    rows = [dict(p=2/2**10, difference=-1, units=10, blow_ups=0) for _ in range(16)]
    assert {row['verdict'] for row in trial._with_holm(rows)} == {'lower'}
    wild = [dict(p=1e-9, difference=-1, units=64, blow_ups=2, share_lower=.1)] # a few pairs far below
    assert trial._with_holm(wild)[0]['verdict'] == 'higher'


def test_another_split_is_another_share_of_the_rows():
    one, other = Regime(split=1).dls('test'), Regime(split=2).dls('test')
    same = Regime(split=1).dls('test').valid.dataset.tensors[0]
    assert one.valid.dataset.tensors[0].equal(same)
    assert not same.equal(other.valid.dataset.tensors[0])
    with pytest.raises(ValueError, match='split must be'): Regime(split=-1)


def test_wrong_labels_are_in_the_training_set_alone():
    dirty, tidy = Regime(noise=.25).dls('train'), Regime().dls('train')
    wrong = dirty.train.dataset.tensors[1] != tidy.train.dataset.tensors[1]
    assert wrong.float().mean().sub(.25).abs() < 1e-3
    measured = dirty.valid.dataset.tensors[1] != tidy.valid.dataset.tensors[1]
    assert measured.equal(wrong)                                    # measured as trained on
    for split in ('valid', 'test'):
        measured, clean = Regime(noise=.25).dls(split).valid, getattr(digits_dls(), split)
        for ours, theirs in zip(measured.dataset.tensors, clean.dataset.tensors): assert ours.equal(theirs)


def test_a_regime_is_trained_as_it_says():
    regime = Regime(hidden=4, bs=100, epochs=2)
    runs = trial.run_regime(regime, {'cosine': .1*cosine()}, 5)
    assert runs.losses.shape == (1, 5, 2*11) and runs.values['lr'].shape == (1, 5, 2)
    assert [tuple(p.shape) for p in regime.model().parameters()] == [(4, 64), (4,), (10, 4), (10,)]


@pytest.mark.parametrize('wrong, told', [
    (dict(seeds=True), 'seeds must be a whole number, at least 5, got seeds=True'),
    (dict(seeds='8'), 'seeds'), (dict(seeds=8.), 'seeds'),
    (dict(seeds=2**62, quiet='no'), 'quiet must be True or False'),
    (dict(seeds=10**400), 'seeds must be a whole number of 64 bits'),
    (dict(out=5), 'out must be the path of a folder'), (dict(plan='peaks'), 'plan must be a dictionary'),
    (dict(plan={'peaks': [32]}), 'plan must be'), (dict(plan={'exam': [Regime()]}), 'plan must be'),
    (dict(plan={'peaks': []}), 'plan must be'), (dict(plan={'verdict': ['MLP']}), 'plan must be'),
    (dict(seeds='8', plan={}), 'seeds'), (dict(seeds=8, quiet='False'), 'quiet must be True or False'),
    (dict(seeds=4), 'seeds must be a whole number, at least 5, got seeds=4'),
    (dict(executor='two'), 'executor must be an object with a method submit'),
])
def test_wrong_trials_write_nothing(tmp_path, monkeypatch, wrong, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=told): trial.run_trial(**wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('wrong, error', [
    (lambda: Regime(hidden=-1), ValueError), (lambda: Regime(bs=0), ValueError),
    (lambda: Regime(epochs=True), ValueError),
    (lambda: trial.run_regime('MLP', trial.rivals(), 5), TypeError),
])
def test_wrong_regimes_are_refused(wrong, error):
    with pytest.raises(error): wrong()


# --- cells ---

TINY = {answer: [Regime(hidden=4, epochs=2), Regime(hidden=4, epochs=3)] for answer in trial._ANSWERS}


def test_each_question_asks_for_as_many_cells_as_the_bar_counts(monkeypatch, tmp_path):
    calls = made_up(monkeypatch, lambda name, peak, split, regime: far(peak, .5) + regime.split/8)
    for answer, (seek, cells, _) in trial._ANSWERS.items():
        calls.clear()
        answer_here(seek(Regime(epochs=2), 16))
        assert len(calls) == cells, answer


@pytest.mark.slow
def test_a_trial_that_broke_off_goes_on_and_its_rows_are_those_of_one_that_did_not(monkeypatch, tmp_path):
    def loss(name, peak, split, regime): return far(peak, .5) + regime.split/8
    calls = made_up(monkeypatch, loss)
    whole = trial.run_trial(8, tmp_path/'whole', quiet=True, plan=TINY)
    cells, made_up_runs = len(calls), trial.run_regime
    monkeypatch.undo()
    calls = made_up(monkeypatch, loss)
    broken, made_up_runs = iter([*[False]*7, True, *[False]*17, True]), trial.run_regime
    @functools.wraps(made_up_runs)
    def breaks_off(regime, *args):
        if next(broken, False): raise OSError('the power is off')
        return made_up_runs(regime, *args)
    monkeypatch.setattr(trial, 'run_regime', breaks_off)
    for _ in range(2):
        with pytest.raises(OSError, match='power'): trial.run_trial(8, tmp_path/'part', quiet=True, plan=TINY)
    assert trial.run_trial(8, tmp_path/'part', quiet=True, plan=TINY) == whole
    assert len(calls) == cells                                      # nothing lost, nothing twice
    for path in (tmp_path/'whole').iterdir():
        assert (tmp_path/'part'/path.name).read_bytes() == path.read_bytes()
    assert not (tmp_path/'part'/'trial_cells').exists()
