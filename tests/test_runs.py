"""What `Runs.save` writes, `Runs.load` reads; the rest is refused before anything is written."""
import numpy as np
import pytest
from cosine_lr import constant
from cosine_lr.lab.runs import Runs

ONES = np.ones((1, 2, 3))


def made(schedules=None, seeds=(0, 1), losses=ONES, **values):
    values = {'train_loss': ONES, 'lr': ONES} | values
    return Runs(schedules or {'a': 'cosine()'}, list(seeds), values, losses)


def without(name):
    runs = made()
    del runs.values[name]
    return runs


@pytest.mark.parametrize('runs, told', [
    (made({'c': constant()}), r"schedules must be a dictionary \{name: text\}.*repr\(sched\)"),
    (made({constant(): 'c'}), 'schedules must be'), (made({1: 'c'}), 'schedules must be'),
    (without('lr'), 'it lacks lr'), (without('train_loss'), 'it lacks train_loss'),
    (made(lr=ONES.astype(int)), 'lr holds values of type int64'),
    (made(lr=np.ones((1, 2, 4))), 'has shape'), (made(train_loss=ONES.astype(object)), 'of type object'),
    (made(f1=ONES[0]), 'f1 has shape'), (made(losses=ONES[0]), 'losses has shape'),
    (made(losses=ONES[..., :0]), 'losses has shape'), (made(seeds=(0,)), 'has shape'),
    (made(seeds=(0., 1.)), 'seeds holds values of type float64'),
    (made(seeds=(3, 3)), 'two of its seeds are the same'),
    (made({'a': 'x', 'b': 'y'}), 'has shape'),
])
def test_what_could_not_be_read_is_not_written(tmp_path, runs, told):
    path = tmp_path/'runs.npz'
    made().save(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=told): runs.save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('runs', [
    made(), made(losses=ONES[..., -1:]), made(losses=0*ONES), made(f1=ONES*np.nan), made({'': ''}),
    made(lr=np.asfortranarray(ONES)), made(lr=ONES.astype('>f4')), made(seeds=[np.int64(5), 7]),
    made(lr=np.broadcast_to(np.ones(3), (1, 2, 3))),
])
def test_what_is_written_is_read(tmp_path, runs):
    runs.save(tmp_path/'runs.npz')
    back = Runs.load(tmp_path/'runs.npz')
    assert back.schedules == runs.schedules and back.seeds == runs.seeds
    assert all(np.array_equal(back.values[name], runs.values[name], equal_nan=True) for name in runs.values)
    assert np.array_equal(back.losses, runs.losses)


@pytest.mark.parametrize('call, told', [
    (lambda runs: runs['sine'], r"no schedule is called 'sine'; choose from \['a'\]"),
    (lambda runs: runs.best('lr'), "metric must be 'train_loss' or 'accuracy', got metric='lr'"),
    (lambda runs: runs.plot('f1'), "metric must be 'train_loss', 'lr' or 'accuracy', got metric='f1'"),
    (lambda runs: runs.table(epoch=6), 'epoch must be a whole number from -3 to 2, got epoch=6'),
])
def test_what_the_runs_do_not_have_is_named_with_what_they_have(call, told):
    with pytest.raises((KeyError, ValueError), match=told): call(made(accuracy=ONES))
