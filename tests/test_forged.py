"""Files that somebody forged: each part that a reader relies on is checked, and refused by name."""
import copy
import hashlib
import pickle
import zipfile

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cosine_lr.callback import ScheduleCB
from cosine_lr.data import DataLoaders, tensor_loader
from cosine_lr.lab.runs import Runs
from cosine_lr.learner import Learner
from cosine_lr.run import checkpoint
from cosine_lr.run.checkpoint import CheckpointCB
from cosine_lr.schedule import cosine

# --- checkpoints ---


def silent(line): pass


def fit(folder):
    torch.manual_seed(0)
    x, y = torch.rand(12, 4), torch.arange(12) % 3
    learn = Learner(nn.Linear(4, 3), DataLoaders(tensor_loader(x, y, bs=4, seed=0), None), F.cross_entropy)
    learn.fit(2, cbs=[ScheduleCB(lr=cosine()), CheckpointCB(folder, every=2, log=silent)])


@pytest.fixture(scope='module')
def sound(tmp_path_factory):
    "What stands in a checkpoint"
    folder = tmp_path_factory.mktemp('run')
    fit(folder)
    return torch.load(checkpoint.newest_first(folder)[0], weights_only=True)


def forge(folder, state, number=6):
    "A file with the right digest"
    part = folder/'forged'
    torch.save(state, part)
    return named(part, number)


def named(part, number=6):
    digest = hashlib.sha256(part.read_bytes()).hexdigest()[:16]
    return part.rename(part.with_name(f'batch-{number:09d}-{digest}.pt'))


def refusal(folder):
    "What is said of the newest file, which must not be used"
    said = []
    assert checkpoint.newest(folder, said.append) is None
    line, = said
    return line


COUNTS = 'epoch', 'done', 'batches', 'steps'
PARTS = 'torch', 'score', 'opt', 'plans', 'cells', 'grads', 'own'
OWN = 'start', 'cells', 'born', 'cbs', 'data'
START = 'cells', 'grads', 'born'
PLACES = [*(((), name) for name in (*COUNTS, *PARTS)), *((('opt',), name) for name in ('kind', 'groups')),
          *((('own', 0), name) for name in OWN), *((('own', 0, 'start'), name) for name in START)]


def at(state, place):
    for key in place: state = state[key]
    return state


def ids(value): return '.'.join(map(str, value)) if isinstance(value, tuple) else None


def test_a_sound_file_is_used(tmp_path, sound):
    forge(tmp_path, sound)
    assert checkpoint.newest(tmp_path, silent)['steps'] == 6


@pytest.mark.parametrize('place, name', PLACES, ids=ids)
def test_a_part_that_is_missing_or_of_another_kind_is_named(tmp_path, sound, place, name):
    for wrong in (None, 1.5, ['a', 'list'], dict(a='dictionary'), 'a text'):
        state = copy.deepcopy(sound)
        part = at(state, place)
        if type(wrong) is type(part[name]) or (name == 'score' and wrong in (None, 1.5)): continue
        part[name] = wrong
        forge(tmp_path, state)
        line = refusal(tmp_path)
        assert f'{name} of ' in line or f'{name} must be' in line
    state = copy.deepcopy(sound)
    del at(state, place)[name]
    forge(tmp_path, state)
    line = refusal(tmp_path)
    assert f'lacks {name!r}' in line or f'{name} must be' in line


@pytest.mark.parametrize('changed, words', [
    (dict(epoch=-1), 'epoch=-1'), (dict(done=0), 'done=0'), (dict(batches=0), 'batches=0'),
    (dict(steps=-1), 'steps=-1'), (dict(done=4), 'done=4'), (dict(steps=7), 'steps=7'),
    (dict(done=True), 'done=True'), (dict(steps=10**400), 'steps must be')])
def test_a_count_out_of_range_is_named(tmp_path, sound, changed, words):
    try: forge(tmp_path, sound | changed)
    except OverflowError: pytest.skip('torch cannot write it')
    assert words in refusal(tmp_path)


@pytest.mark.parametrize('own', [[], [None], ['text'], [3]])
def test_a_run_without_processes_is_refused(tmp_path, sound, own):
    forge(tmp_path, sound | dict(own=own))
    assert "a process lacks 'start'" in refusal(tmp_path)


@pytest.mark.parametrize('other', [[], 'text', None, {}, dict(torch='2')])
def test_another_file_of_torch_is_no_checkpoint(tmp_path, other):
    forge(tmp_path, other)
    assert 'it is not a checkpoint of cosine_lr' in refusal(tmp_path)


def test_another_format_is_no_damage(tmp_path, sound):
    path = forge(tmp_path, dict(sound, format=99))
    with pytest.raises(ValueError, match='has format 99; this version of cosine_lr reads format 1'):
        checkpoint.newest(tmp_path, silent)
    assert path.exists()


WHERE = dict(cells=lambda t: dict(cells={'model.weight': t}), grads=lambda t: dict(grads={'model.weight': t}),
             rows=lambda t: dict(plans=[dict(a=(t,))]))


@pytest.mark.parametrize('where', WHERE)
def test_a_tensor_may_not_claim_more_than_the_file_has(tmp_path, sound, where):
    forge(tmp_path, sound | WHERE[where](torch.zeros(1).expand(3*10**8)))
    assert 'its tensors claim 1,200,' in refusal(tmp_path)


class Call:
    def __reduce__(self): return print, ('called',)


class Odd(nn.Module): "A class of its own"


@pytest.mark.parametrize('gift, words', [
    (Call(), 'it calls'), (Odd(), 'it calls'), (bytearray(5), 'it calls'), (np.ones(2), 'it calls')])
def test_what_would_call_something_is_refused_and_not_called(tmp_path, sound, capsys, gift, words):
    forge(tmp_path, sound | dict(gift=gift))
    assert words in refusal(tmp_path) and 'called' not in capsys.readouterr().out


def test_a_text_that_looks_like_a_call_is_none(tmp_path, sound):
    forge(tmp_path, sound | dict(gift='cos\nsystem\n'))
    assert checkpoint.newest(tmp_path, silent)['gift'] == 'cos\nsystem\n'


def test_a_pickle_of_pythons_own_and_a_compressed_file_are_refused(tmp_path, sound):
    (tmp_path/'forged').write_bytes(pickle.dumps(dict(format=1)))
    named(tmp_path/'forged')
    assert 'no file of plain data and tensors' in refusal(tmp_path)
    path, small = forge(tmp_path, sound | dict(zeros=torch.zeros(10**6))), tmp_path/'forged'
    with zipfile.ZipFile(path) as file, zipfile.ZipFile(small, 'w', zipfile.ZIP_DEFLATED) as other:
        for part in file.infolist(): other.writestr(part.filename, file.read(part))
    path.unlink()
    named(small)
    assert 'compressed' in refusal(tmp_path)


def test_a_name_that_is_not_the_digest_is_refused(tmp_path, sound):
    path = forge(tmp_path, sound)
    path.rename(tmp_path/f'batch-000000006-{"0"*16}.pt')
    assert 'its content does not match its name' in refusal(tmp_path)


def test_a_folder_with_a_checkpoints_name_is_refused(tmp_path):
    (tmp_path/f'batch-000000006-{"0"*16}.pt').mkdir()
    assert 'it is no file' in refusal(tmp_path)


# --- runs ---

def runs():
    values = dict(train_loss=np.ones((2, 3, 4)), lr=np.ones((2, 3, 4)))
    return Runs(dict(a='cosine()', b='linear()'), [0, 1, 2], values, np.ones((2, 3, 8)))


def arrays_of(r):
    text = dict(schedules=list(r.schedules), formulas=list(r.schedules.values()))
    every = dict(**text, seeds=r.seeds, losses=r.losses, **r.values)
    return {name: np.asarray(a) for name, a in every.items()}


def put(path, arrays):
    np.savez_compressed(path, **arrays)
    return path


def test_runs_that_are_sound_are_read(tmp_path):
    assert Runs.load(put(tmp_path/'r.npz', arrays_of(runs()))).seeds == [0, 1, 2]


@pytest.mark.parametrize('name', ['schedules', 'formulas', 'seeds', 'losses', 'train_loss', 'lr'])
def test_an_array_that_is_missing_or_of_another_type_or_shape_is_named(tmp_path, name):
    good = arrays_of(runs())
    without = {key: a for key, a in good.items() if key != name}
    with pytest.raises(ValueError, match=f'it lacks {name}'): Runs.load(put(tmp_path/'r.npz', without))
    for wrong in (good[name].astype(complex if good[name].dtype.kind in 'if' else 'S'), good[name][..., None],
                  good[name][:1] if name != 'seeds' else good[name][:0], good[name].astype(object)):
        with pytest.raises(ValueError, match='no file that Runs.save wrote'):
            Runs.load(put(tmp_path/'r.npz', good | {name: wrong}))


@pytest.mark.parametrize('name, twice', [('schedules', np.array(['a', 'a'])), ('seeds', np.array([0, 1, 1]))])
def test_two_of_one_name_are_refused(tmp_path, name, twice):
    with pytest.raises(ValueError, match=f'two of its {name} are the same'):
        Runs.load(put(tmp_path/'r.npz', arrays_of(runs()) | {name: twice}))


def test_no_epochs_are_refused(tmp_path):
    empty = dict(train_loss=np.ones((2, 3, 0)), lr=np.ones((2, 3, 0)))
    with pytest.raises(ValueError, match='has shape'):
        Runs.load(put(tmp_path/'r.npz', arrays_of(runs()) | empty))


def test_a_header_of_another_version_is_refused(tmp_path):
    with zipfile.ZipFile(put(tmp_path/'r.npz', arrays_of(runs()))) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(tmp_path/'r.npz', 'w') as file:
        for name, content in entries.items():
            with file.open(name, 'w') as entry:
                if name == 'lr.npy': np.lib.format.write_array(entry, np.ones((2, 3, 4)), version=(2, 0))
                else: entry.write(content)
    with pytest.raises(ValueError, match='lr is of another version'): Runs.load(tmp_path/'r.npz')


def test_an_array_of_objects_is_not_unpickled(tmp_path, capsys):
    gift = np.empty((2, 3, 4), object)
    gift[:] = Call()
    with pytest.raises(ValueError, match='no file that Runs.save wrote'):
        Runs.load(put(tmp_path/'r.npz', arrays_of(runs()) | dict(f1=gift)))
    assert 'called' not in capsys.readouterr().out


def test_memory_is_asked_for(tmp_path):
    path = put(tmp_path/'r.npz', arrays_of(runs()))
    with pytest.raises(ValueError, match='give max_bytes='): Runs.load(path, max_bytes=10)
    for wrong in ('all', 0, True):
        with pytest.raises(ValueError, match='max_bytes must be'): Runs.load(path, max_bytes=wrong)


def test_a_file_that_is_not_there_is_no_forgery(tmp_path):
    with pytest.raises(FileNotFoundError): Runs.load(tmp_path/'none.npz')
    with pytest.raises(ValueError, match='path must be'): Runs.load(3)
