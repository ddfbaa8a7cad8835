"""`cosine_lr search`: it is interrupted and goes on, what it prints and writes, and what it refuses."""
import re
from itertools import count

import pytest

optuna = pytest.importorskip('optuna', reason="needs the extra: pip install 'cosine_lr[search]'")
from cosine_lr import digits_dls, join, linear, run_fleet  # noqa: E402
from cosine_lr.cli import main  # noqa: E402
from cosine_lr.lab import LineSpace, search_schedule  # noqa: E402
from cosine_lr.lab.study import finished_trials  # noqa: E402

pytestmark = pytest.mark.slow
BUDGET, METHODS = 41, ('annealing', 'random', 'tpe')


@pytest.fixture(scope='module')
def folder(tmp_path_factory): return tmp_path_factory.mktemp('search')


@pytest.fixture(scope='module')
def search(folder):
    "The smallest search, with other options: its exit status."
    small = ['search', '--model', 'single layer', '--epochs', '2', '--budget', str(BUDGET),
             '--seeds', '1', '--fresh', '2', '--storage', str(folder/'search.db'), '--out', str(folder/'out')]
    return lambda *options: main([*small, *options])


@pytest.fixture(scope='module')
def table(search, folder):
    "The table of a search that is finished, as it was written."
    assert search('--resume', '--quiet') == 0
    return (folder/'out'/'search.md').read_text(encoding='utf-8')


def finished(folder): return [finished_trials(folder/'search.db', f'search/{method}') for method in METHODS]


def test_interrupted_it_keeps_what_is_finished_and_goes_on(search, folder, capsys, monkeypatch):
    calls = count()
    def fleet(*args, **kwargs):
        if next(calls) == 36: raise KeyboardInterrupt               # eight calls tune recipes, 28 are trials
        return run_fleet(*args, **kwargs)
    monkeypatch.setattr('cosine_lr.lab.search.run_fleet', fleet)
    assert search('--quiet') == 130 and 'continue with --resume' in capsys.readouterr().out
    assert finished(folder) == [28, 0, 0] and not list((folder/'out').iterdir())
    monkeypatch.undo()

    with pytest.raises(SystemExit) as left: search('--quiet')
    assert left.value.code == 2 and "holds a search called 'search' with 28 trials" in capsys.readouterr().err
    assert search('--resume') == 0 and finished(folder) == [BUDGET]*3
    said, err = capsys.readouterr()
    shown = {int(n) for n in re.findall(fr'(\d+)/{3*BUDGET}\b', err)}
    assert 3*BUDGET in shown and shown.isdisjoint(range(1, 28))             # the bar begins at what is done

    line, _, *rest = said.splitlines()
    sched = eval(line.removeprefix('sched = '), dict(linear=linear, join=join))
    study = optuna.load_study(study_name='search/annealing', storage=f"sqlite:///{folder/'search.db'}")
    points = [[t.params[name] for name in LineSpace().bounds] for t in study.trials if t.params]
    assert sched in map(LineSpace().schedule, points)
    written = (folder/'out'/'search.md').read_text(encoding='utf-8')
    assert '\n'.join(rest).startswith(written)
    rows = [[cell.strip() for cell in row.split('|')[1:3]] for row in written.splitlines()[2:]]
    recipes = ('cosine', 'linear', 'wsd', 'hold')
    assert rows == [[method, str(BUDGET)] for method in (*recipes, *METHODS)]
    assert (folder/'out'/'search.png').read_bytes().startswith(b'\x89PNG')


def test_finished_it_trains_nothing_until_it_may_train_more(table, search, folder, capsys):
    assert search('--resume') == 0 and finished(folder) == [BUDGET]*3
    assert (folder/'out'/'search.md').read_text(encoding='utf-8') == table
    assert f'{3*BUDGET}/{3*BUDGET}' in capsys.readouterr().err
    assert search('--resume', '--quiet', '--budget', str(BUDGET + 1)) == 0
    assert finished(folder) == [BUDGET + 1]*3


def test_the_database_lies_beside_the_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    def interrupted(*args, **kwargs):
        assert kwargs['storage'] == (tmp_path/'out'/'search.db').relative_to(tmp_path)
        raise KeyboardInterrupt
    monkeypatch.setattr('cosine_lr.cli.search_schedule', interrupted)
    assert main(['search', '--out', 'out']) == 130
    assert [path.name for path in tmp_path.iterdir()] == ['out']


@pytest.mark.parametrize('options, told', [
    (['--model', 'cnn'], '--model'), (['--budget', 'many'], '--budget'), (['--seed', '-1'], '--seed'),
    (['--epochs', '0'], 'epochs must be a whole number, at least 1, got epochs=0'),
    (['--budget', '40'], 'budget must be a whole number, at least 41, got budget=40'),
    (['--fresh', '1'], 'fresh must be a whole number, at least 2'), (['--unknown'], '--unknown'),
])
def test_options_that_cannot_be_read(search, capsys, options, told):
    with pytest.raises(SystemExit) as left: search(*options)
    assert left.value.code == 2 and told in capsys.readouterr().err


@pytest.mark.parametrize('options, told', [
    (['--storage', 'no/such/folder.db'], 'cannot open storage'),
    (['--storage', 'nosuch://host/name'], 'cannot open storage'),
    (['--resume', '--epochs', '4'], 'other settings: epochs 2, not 4'),
    (['--resume', '--model', 'MLP'], 'other settings'),
])
def test_searches_that_cannot_be_run(table, search, folder, capsys, options, told):
    written = (folder/'out'/'search.md').read_text(encoding='utf-8')
    assert search('--quiet', '--name', 'search' if '--resume' in options else 'another', *options) == 1
    said, err = capsys.readouterr()
    assert err.startswith('cosine_lr search: ') and told in err and 'Traceback' not in err and not said
    assert (folder/'out'/'search.md').read_text(encoding='utf-8') == written            # what was there stays


@pytest.mark.parametrize('wrong, says', [
    (dict(budget=20), 'budget must be at least 44'), (dict(seeds=0), 'seeds must be'),
    (dict(rivals=['grid']), "rivals must be 'random' or 'tpe'"), (dict(epochs=True), 'epochs must be'),
])
def test_a_wrong_call_is_refused_before_anything_is_trained(wrong, says):
    def make_model(): raise AssertionError('trained')
    with pytest.raises(ValueError, match=says):
        search_schedule(**dict(make_model=make_model, dls=digits_dls(), quiet=True) | wrong)
