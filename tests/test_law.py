"""The law of the loss: planted amounts are found again, what tells nothing is refused; the command."""
import re

import numpy as np
import pytest
from cosine_lr import (Learner, MetricsCB, ScheduleCB, constant, cosine, digits_dls, exponential, join,
                       linear, run_fleet, search_schedule, warmup_cosine, wsd)
from cosine_lr.cli import main
from cosine_lr.lab import KnotSpace, NoisyQuadratic, Runs, fit_law, read_log
from cosine_lr.run import CSVLoggerCB
from torch import nn

STEPS, PEAK = 1000, .3
STEP = join([constant(1.), constant(.1)], at=[.7])


def rates_of(sched, steps=STEPS): return sched(np.arange(steps)/steps)*np.ones(steps)


def planted(rates):
    "A loss with one exponential and one scale on which noise settles"
    sums = np.cumsum(rates) - rates
    changes = np.diff(rates, prepend=0)
    since = np.maximum(sums[:, None] - sums, 0)
    noise = np.tril(1 - np.exp(-since/3)) @ changes
    return .5 + 2*np.exp(-sums/60) + 1.5*noise


def bowl(rates, noise=.2):
    model = NoisyQuadratic(1000, len(rates), noise)
    return np.append(model.curvature.sum()/2, model.losses(rates)[:-1])


@pytest.fixture(scope='module')
def runs(): return [(PEAK*rates_of(sched), bowl(PEAK*rates_of(sched))) for sched in (constant(1.), STEP)]


@pytest.fixture(scope='module')
def law(runs): return fit_law(runs)


# --- forecasts ---

@pytest.mark.parametrize('sched', [linear(), wsd(), exponential(1, .01), .7*cosine()])
def test_a_planted_law_is_found(sched):
    rng = np.random.default_rng(0)
    three = [rates_of(s)*PEAK for s in (constant(1.), STEP, cosine())]
    law = fit_law([(r, planted(r)*np.exp(.01*rng.normal(size=STEPS))) for r in three])
    loss, _, _ = law.predict(PEAK*sched, STEPS).final
    true = planted(rates_of(PEAK*sched))[-1]
    assert abs(loss/true - 1) < .02


def test_the_bowl_is_forecast_and_its_noise_is_what_tells_schedules_apart(law):
    forecast = {name: law.predict(PEAK*sched, STEPS).final[0]
                for name, sched in dict(constant=constant(1.), cosine=cosine(), wsd=wsd()).items()}
    for name, sched in dict(cosine=cosine(), wsd=wsd()).items():
        assert abs(forecast[name]/bowl(PEAK*rates_of(sched))[-1] - 1) < .03
    assert forecast['wsd'] < forecast['constant'] # no law of the sum of the rates alone says so


def test_a_forecast_has_a_number_for_each_step_and_bounds_around_it(law):
    forecast = law.predict(PEAK*cosine(), 777)
    assert all(len(x) == 777 for x in (forecast.rates, forecast.loss, forecast.low, forecast.high))
    assert (forecast.low < forecast.loss).all() and (forecast.loss < forecast.high).all()
    assert (forecast.high - forecast.loss >= .01*forecast.loss - 1e-12).all()
    same = law.predict(PEAK*rates_of(cosine(), 777))
    assert np.allclose(same.loss, forecast.loss)


def test_many_schedules_at_once_give_what_each_gives(law):
    scheds = [PEAK*sched for sched in (cosine(), linear(), wsd(), constant(1.))]
    together = law.final_losses(scheds, 2000)
    alone = [law.predict(sched, 2000).final[0] for sched in scheds]
    assert np.allclose(together, alone, rtol=.01)
    assert np.isinf(law.final_losses([1.1*PEAK*cosine()], 2000)).all()


def test_the_unit_of_rates_does_not_matter(runs, law):
    other = fit_law([(1000*rates, losses) for rates, losses in runs])
    assert np.allclose(other.predict(1000*PEAK*cosine(), STEPS).loss, law.predict(PEAK*cosine(), STEPS).loss)


def test_the_same_seed_gives_the_same_law(runs, law):
    wavy = [(rates, losses*np.exp(.05*np.sin(np.arange(STEPS)))) for rates, losses in runs]
    again, other = fit_law(runs), fit_law(wavy)
    assert np.array_equal(again.predict(PEAK*cosine(), STEPS).high, law.predict(PEAK*cosine(), STEPS).high)
    assert other.error > 3*law.error


def width(law, sched, steps):
    loss, low, high = law.predict(sched, steps).final
    return (high - low)/loss


def test_intervals_widen_where_less_is_known(law):
    usual = width(law, PEAK*join([constant(1.), constant(.5)], at=[.7]), STEPS)
    assert np.isclose(width(law, PEAK*constant(1.), STEPS), .02 + 2*law.left_out) # the least there is
    assert np.isclose(width(law, PEAK*constant(1.), 2*STEPS), .04 + 2*law.left_out) # twice as long
    falls = [PEAK*join([constant(1.), constant(low)], at=[.3]) for low in (.09, .1)]
    lower, lowest = (width(law, sched, STEPS) for sched in falls)
    assert lower > 1.5*lowest # rates below those that were fitted
    assert width(law, .3*PEAK*constant(1.), STEPS) > 2*usual # another peak


def test_intervals_hold_the_error_of_a_run_left_out(runs, law):
    (rates, losses), decays = runs
    higher = rates, losses*np.linspace(1, 1.1, STEPS) # as no law of the run that decays forecasts it
    alone = fit_law([decays, decays]).predict(rates).loss
    late = slice(3*STEPS//4, None)
    error = np.mean(np.abs(alone[late]/higher[1][late] - 1))
    other = fit_law([higher, decays])
    assert law.left_out < .002 < .05 < error
    assert np.isclose(other.left_out, error, rtol=.05)
    assert width(other, PEAK*cosine(), STEPS) > width(law, PEAK*cosine(), STEPS) + 1.9*error
    two = fit_law([decays, (PEAK*rates_of(cosine()), bowl(PEAK*rates_of(cosine())))])
    assert 0 < two.left_out < .05 # both decay: each is left out in turn


def test_a_gain_is_as_uncertain_as_its_two_forecasts(law):
    best = law.best(STEPS, proposals=400)
    halves = {name: law.predict(sched, STEPS).final for name, sched in best.recipes.items()}
    loss, _, high = best.forecast.final
    for name, (its_loss, _, its_high) in halves.items():
        half = np.hypot(high - loss, its_high - its_loss)
        assert np.isclose(best.high[name] - best.gain[name], half)
        assert np.isclose(best.gain[name] - best.low[name], half)


def test_a_cosine_tells_as_much_as_a_step_decay():
    rng = np.random.default_rng(0)
    other = fit_law([(PEAK*rates_of(sched), bowl(PEAK*rates_of(sched))*np.exp(.005*rng.normal(size=STEPS)))
                     for sched in (constant(1.), cosine())])
    scheds = [cosine(), linear(), wsd(), warmup_cosine(), .5*cosine(), exponential(1., .01)]
    forecast = np.array([other.predict(PEAK*sched, STEPS).final[0] for sched in scheds])
    exact = np.array([bowl(PEAK*rates_of(sched))[-1] for sched in scheds])
    assert np.median(np.abs(forecast/exact - 1)) < .03


def test_a_cooldown_is_that_of_a_branch(law):
    branch = np.concatenate([np.full(600, PEAK), PEAK*(1 - np.arange(150)/150)])
    now, cooled = law.runs['runs[0]'][1][600], law.cooldown_now(600).final[0]
    assert abs(cooled/bowl(branch)[-1] - 1) < .03 and cooled < .85*now
    assert law.cooldown_now(800, run=1).rates[799] == .1*PEAK == law.cooldown_now(800).rates[799]/10


# --- what is annealed on it ---

def test_the_annealed_schedule_stays_within_the_fitted_rates_and_beats_recipes_on_the_law(law):
    best = law.best(STEPS, proposals=400)
    assert best.schedule(np.arange(STEPS)/STEPS).max() <= 1.001*law.peak
    assert best.gain['cosine'] > 0 and best.gain['linear'] > 0
    assert set(best.gain) == {'cosine', 'linear', 'wsd'}
    assert all(best.low[name] <= best.high[name] for name in best.gain)
    own = law.final_losses([best.schedule], STEPS)[0]
    assert np.isclose(best.losses['cosine'] - own, best.gain['cosine'])
    assert 'annealed' in repr(best) and repr(best.schedule) in repr(best)
    assert law.best(STEPS, proposals=400).schedule == best.schedule


def test_search_schedule_asks_the_law(law):
    found = search_schedule(law, steps=STEPS, budget=60, fresh=4, rivals=['random'], quiet=True,
                            space=KnotSpace(peak=(.003, 1.)))
    methods = ('cosine', 'linear', 'wsd', 'hold', 'annealing', 'random')
    assert found.evaluations == dict.fromkeys(methods, 60)
    assert repr(found).startswith('| method | forecast | loss in the search |')
    assert found.test['annealing'].mean() < found.test['cosine'].mean()
    assert all(sched(np.linspace(0, 1, 50)).max() <= 1.001*law.peak for sched in found.schedules.values())


def test_on_a_law_annealing_is_ahead_of_random_search(law):
    found = search_schedule(law, steps=STEPS, budget=400, rivals=['random'], fresh=16, quiet=True,
                            space=KnotSpace(peak=(.003, 1.)))
    annealed, drawn, tuned = (found.test[name].mean() for name in ('annealing', 'random', 'cosine'))
    assert annealed < drawn < tuned


def test_a_search_on_a_law_asks_for_the_steps(law):
    with pytest.raises(ValueError, match='steps must be a whole number, at least 20, got steps=None'):
        search_schedule(law, budget=60, rivals=[])


def test_a_search_on_a_law_takes_no_loaders(law):
    with pytest.raises(ValueError, match='dls must be None where a law forecasts'):
        search_schedule(law, object(), steps=STEPS, budget=60, rivals=[])


# --- what is refused ---

FLAT = np.full(STEPS, PEAK)


def spiked(losses):
    losses = losses.copy()
    losses[600:620] *= 4
    return losses


def broken(losses): return np.where(np.arange(STEPS) == 5, np.nan, losses)


REFUSED = {
    'at least two runs, got 1: a constant rate, and one that decays, say': lambda r: r[:1],
    'one whose rate decays': lambda r: [r[0], r[0]],
    'finite numbers, got nan at step 5': lambda r: [r[0], (r[1][0], broken(r[1][1]))],
    'got 999 rates and 1000 losses': lambda r: [r[0], (r[1][0][1:], r[1][1])],
    'at least 20 steps, got 10': lambda r: [r[0], (r[1][0][:10], r[1][1][:10])],
    'rates of at least 0': lambda r: [r[0], (-r[1][0], r[1][1])],
    'losses above 0': lambda r: [r[0], (r[1][0], r[1][1] - 5)],
    'a loss that falls': lambda r: [r[0], (r[1][0], r[1][1][::-1])],
    'no loss spikes, got one at step 600': lambda r: [r[0], (r[1][0], spiked(r[1][1]))],
    'must agree with the law': lambda r: [r[0], (r[1][0], 2*r[1][1])],
    'a number for each step': lambda r: [r[0], (r[1][0], np.ones((STEPS, 2)))],
    r'a pair \(rates, losses\)': lambda r: [r[0], 3],
    'a list of numbers': lambda r: [r[0], (r[1][0], ['x']*STEPS)],
    'a record of fleets': lambda r: 3,
}


@pytest.mark.parametrize('message', REFUSED)
def test_runs_that_tell_no_law_are_refused(runs, message):
    with pytest.raises(ValueError, match=message): fit_law(REFUSED[message](runs))


@pytest.mark.parametrize('args, message', [
    ((1.2*PEAK*cosine(), STEPS), r'up to 0.3, got 0.36'),
    ((PEAK*cosine(), 3), 'steps must be a whole number, at least 20'),
    ((PEAK*cosine(),), 'steps must be a whole number'),
    ((PEAK*cosine(), 10*STEPS + 1), 'steps must be at most 10000, 10 times the longest run .* got 10001'),
    ((np.full(10*STEPS + 1, PEAK),), 'steps must be at most 10000'),
    ((FLAT, 5), 'steps must be 1000, as many as rates'),
    ((-FLAT,), 'rates of at least 0'),
    ((0*FLAT,), 'some above it'),
])
def test_forecasts_that_nobody_can_give_are_refused(law, args, message):
    with pytest.raises(ValueError, match=message): law.predict(*args)


@pytest.mark.parametrize('args, message', [
    ((5,), 'step must be'), ((2000,), 'step must be a whole number from 20 to 1,000, got step=2000'),
    ((100, 0), 'over must be'), ((100, 10, 2), 'run must be')])
def test_cooldowns_that_nobody_can_give_are_refused(law, args, message):
    with pytest.raises(ValueError, match=message): law.cooldown_now(*args)


# --- runs of all kinds ---

def record(names, losses):
    values = {name: np.ones((len(names), 2, 4)) for name in ('train_loss', 'lr')}
    return Runs(names, [0, 1], values, losses)


def test_fleets_are_read_with_the_mean_over_seeds(runs, law):
    names = {'flat': repr(PEAK*constant(1.)), 'step': repr(PEAK*STEP)}
    losses = np.stack([np.stack([.9*values, 1.1*values]) for _, values in runs])
    fleet = fit_law(record(names, losses))
    assert list(fleet.runs) == ["runs['flat']", "runs['step']"]
    assert np.allclose(fleet.predict(PEAK*cosine(), STEPS).loss, law.predict(PEAK*cosine(), STEPS).loss)
    with pytest.raises(ValueError, match='schedules that can be read back'):
        fit_law(record({'flat': '<function>', 'step': repr(STEP)}, losses))


def write(folder, name, heads, rows):
    path = folder/name
    path.write_text('\n'.join([heads, *(','.join(map(str, row)) for row in rows)]) + '\n')
    return path


@pytest.fixture(scope='module')
def logs(runs, tmp_path_factory):
    "{logger: its files for the two runs}"
    folder, found = tmp_path_factory.mktemp('logs'), {}
    for k, (rates, losses) in enumerate(runs):
        rows = list(zip(range(STEPS), rates, losses))
        found.setdefault('CSVLoggerCB', []).append(write(
            folder, f'a{k}.csv', 'epoch,train_loss,valid_loss,time,lr',
            [(s, l, 9., 1., r) for s, r, l in rows]))
        found.setdefault('W&B', []).append(write(
            folder, f'b{k}.csv', 'Step,sun-7 - train/loss,sun-7 - train/loss__MIN,sun-7 - train/lr',
            [(s, l, 0., r) for s, r, l in rows]))
        pair = [write(folder, f'{column}{k}.csv', 'Wall time,Step,Value',
                      [(1.7e9, row[0], row[at]) for row in rows])
                for column, at in (('rate', 1), ('loss', 2))]
        found.setdefault('TensorBoard', []).append(tuple(pair))
        long = [(key, value, s) for s, r, l in rows for key, value in (('lr', r), ('loss', l))]
        found.setdefault('MLflow', []).append(write(folder, f'c{k}.csv', 'key,value,step', long))
        blanks = [line for s, r, l in rows for line in ((s, r, ''), (s, '', l))]
        found.setdefault('Lightning', []).append(write(
            folder, f'd{k}.csv', 'step,lr-SGD,train_loss_step', blanks))
    return found


@pytest.mark.parametrize('logger', ['CSVLoggerCB', 'W&B', 'TensorBoard', 'MLflow', 'Lightning'])
def test_what_loggers_write_is_read(logs, law, logger):
    assert np.allclose(fit_law(logs[logger]).predict(PEAK*cosine(), STEPS).loss,
                       law.predict(PEAK*cosine(), STEPS).loss)


def test_steps_between_are_filled_in_and_nan_is_no_blank(tmp_path):
    rows = [(10, .1, 3), (20, .1, 1), (30, .0, '')]
    rates, losses = read_log(write(tmp_path, 'a.csv', 'step,lr,loss', rows))
    assert np.allclose(losses, 3 - .2*np.arange(11))
    assert (rates == .1).all()
    assert np.isnan(read_log(write(tmp_path, 'b.csv', 'lr,loss', [(.1, 3), (.1, 'nan')]))[1][1])


@pytest.mark.parametrize('heads, columns, message', [
    ('step,eta,loss', {}, r'no column for rate .*name it, rate='),
    ('step,lr,goal', {}, r'no column for loss .*name it, loss='),
    ('step,lr,goal', dict(loss='aim'), "loss must be a column of .*got loss='aim'"),
    ('lr,a - loss,b - loss', {}, r'several columns for loss: .*name one: loss='),
])
def test_columns_that_are_not_there_are_named(tmp_path, heads, columns, message):
    path = write(tmp_path, 'a.csv', heads, [(1, .1, 3)])
    with pytest.raises(ValueError, match=message): read_log(path, **columns)


def test_columns_with_other_names_are_named(runs, law, tmp_path):
    paths = [write(tmp_path, f'{k}.csv', 'step,eta,goal', zip(range(STEPS), *run))
             for k, run in enumerate(runs)]
    named = fit_law(paths, rate='eta', loss='goal')
    assert np.allclose(named.predict(PEAK*cosine(), STEPS).loss, law.predict(PEAK*cosine(), STEPS).loss)
    with pytest.raises(ValueError, match='no column for rate .*name it, rate='): fit_law(paths)
    with pytest.raises(ValueError, match="loss must be None where no run is a CSV file, got loss='goal'"):
        fit_law(runs, loss='goal')


# --- the command ---

def test_the_command_prints_the_schedule_and_writes_a_table_and_a_figure(logs, tmp_path, capsys):
    paths = [str(path) for path in logs['CSVLoggerCB']]
    assert main(['law', *paths, '--steps', '1500', '--proposals', '400', '--out', str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert re.search(r'^sched = .*join', text) and 'LossLaw(2 runs' in text and '| wsd |' in text
    assert (tmp_path/'law.md').read_text() in text and (tmp_path/'law.png').read_bytes()[:4] == b'\x89PNG'


def test_the_command_takes_a_file_for_each_column_and_is_quiet(logs, tmp_path, capsys):
    paths = [','.join(map(str, pair)) for pair in logs['TensorBoard']]
    small = ['--steps', '500', '--proposals', '400', '--out', str(tmp_path), '--quiet']
    assert main(['law', *paths, *small]) == 0
    assert re.fullmatch(r'sched = .*\n', capsys.readouterr().out)


def test_the_command_says_what_is_wrong(logs, tmp_path, capsys):
    path = str(logs['CSVLoggerCB'][0])
    assert main(['law', path, '--steps', '500', '--out', str(tmp_path)]) == 1
    assert 'cosine_lr law: runs must hold at least two runs, got 1' in capsys.readouterr().err
    both = [str(path) for path in logs['CSVLoggerCB']]
    assert main(['law', *both, '--steps', '400000', '--out', str(tmp_path)]) == 1
    assert 'got 400000: fit longer runs; or count as the logs do' in capsys.readouterr().err
    assert main(['law', path, str(tmp_path/'no.csv'), '--steps', '500', '--out', str(tmp_path)]) == 1
    assert 'no.csv' in capsys.readouterr().err
    with pytest.raises(SystemExit): main(['law', path, path, '--out', str(tmp_path)])
    assert '--steps must be given' in capsys.readouterr().err


# --- real runs ---

def test_the_logs_of_csv_logger_count_epochs(tmp_path):
    for name, sched in dict(constant=constant(1.), step=STEP).items():
        cbs = [ScheduleCB(lr=.3*sched), MetricsCB(log=None), CSVLoggerCB(tmp_path/f'{name}.csv')]
        Learner(nn.Linear(64, 10), digits_dls(), nn.functional.cross_entropy, cbs=cbs).fit(25)
    law = fit_law([tmp_path/'constant.csv', tmp_path/'step.csv'])
    assert law.longest == 25
    with pytest.raises(ValueError, match='at most 250, .* may count epochs'): law.best(4000)



@pytest.mark.slow
def test_digits_are_forecast():
    def mlp(): return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    def fleet(scheds, seeds):
        return run_fleet(mlp, digits_dls(), scheds, seeds=seeds, epochs=20, quiet=True)
    law = fit_law(fleet({'flat': .3*constant(1.), 'step': .3*STEP}, range(8)))
    seen = fleet([.3*cosine()], range(8, 16)).losses[0].mean(0)[-17:].mean()
    assert abs(law.predict(.3*cosine(), 340).loss[-17:].mean()/seen - 1) < .1
