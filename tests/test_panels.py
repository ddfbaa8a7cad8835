"What the explorer's knobs and the reader of logs refuse."
import numpy as np
import pytest
from cosine_lr import constant, digits_dls, run_fleet
from cosine_lr.lab import read_log
from cosine_lr.view import dial, explore, explore_peaks
from cosine_lr.view.explorer import _leader
from torch import nn


@pytest.mark.parametrize('wrong', [dict(recipe='cos'), dict(warm=1.2), dict(cycles=0), dict(floor='low'),
                                   dict(floor=2), dict(peak=0)])
def test_settings_that_make_no_schedule(wrong):
    name, = wrong
    with pytest.raises(ValueError, match=f'^{name} must be .*, got {name}='): dial(**wrong)


def test_a_recipe_that_is_none_and_a_knob_that_is_none_are_told_which_there_are():
    recipes = "recipe must be 'cosine', 'linear', 'wsd', 'flat_cos', 'one_cycle' or 'constant', got"
    with pytest.raises(ValueError, match=recipes): dial(recipe='cos')
    pytest.importorskip('ipywidgets')
    knobs = "knob must be 'recipe', 'peak', 'warm', 'floor' or 'cycles', got knob='height'"
    with pytest.raises(ValueError, match=knobs): explore(height=1)


@pytest.mark.parametrize('wrong', [dict(height=1), dict(recipe='cos'), dict(cycles=0), dict(cycles=9),
                                   dict(peak=1000.), dict(warm=.8), dict(steps=1), dict(steps='many')])
def test_settings_that_no_knob_has(wrong):
    pytest.importorskip('ipywidgets')
    name, = wrong
    with pytest.raises(ValueError, match='knob' if name == 'height' else name): explore(**wrong)


def test_fleets_that_are_none():
    pytest.importorskip('ipywidgets')
    fleets = {.1: run_fleet(lambda: nn.Linear(64, 10), digits_dls(), constant(.1), seeds=2, quiet=True)}
    for wrong, name in (({}, 'fleets'), ([1], 'fleets')):
        with pytest.raises(ValueError, match=name): explore_peaks(wrong)
    metrics = "metric must be 'train_loss', 'valid_loss', 'accuracy' or 'lr', got metric='beauty'"
    with pytest.raises(ValueError, match=metrics): explore_peaks(fleets, metric='beauty')
    with pytest.raises(ValueError, match=r'peak must be one of \[0.1\], got peak=0.2'):
        explore_peaks(fleets, peak=.2)


@pytest.mark.parametrize('metric, said', [
    ('accuracy', 'cosine ends highest, at 0.90'), ('valid_loss', 'constant ends lowest, at 0.30'),
    ('f1', 'constant ends highest, at 0.20'), ('auc', 'no run ends with a finite value')])
def test_the_title_names_the_schedule_that_ends_best(metric, said):
    nan = float('nan')
    first = dict(schedule='constant', accuracy=(.8, .1), valid_loss=(.3, .1), f1=(.2, .1), auc=(nan, nan))
    second = dict(schedule='cosine', accuracy=(.9, .1), valid_loss=(.4, .1), f1=(nan, nan), auc=(nan, nan))
    assert _leader([first, second], metric) == said


@pytest.fixture
def log(tmp_path):
    def write(text):
        path = tmp_path/'log.csv'
        path.write_text(text)
        return path
    return write


@pytest.mark.parametrize('text, message', [
    ('step,eta,objective\n0,0.1,3\n1,0.1,2\n', 'no column for rate'),
    ('Step,a - loss,b - loss,lr\n0,3,3,0.1\n', 'several columns for loss'),
    ('step,lr,loss\n', 'at least one row')])
def test_files_that_hold_no_run(log, text, message):
    with pytest.raises(ValueError, match=message): read_log(log(text))


def test_files_that_are_none(log):
    odd = log('step,eta,objective\n0,0.1,3\n1,0.1,2\n')
    with pytest.raises(ValueError, match='rate must be a column'): read_log(odd, 'lr', 'objective')
    with pytest.raises(ValueError, match='one file, or two'): read_log([odd]*3)
    with pytest.raises(ValueError, match='path'): read_log(3)


def test_nan_is_no_blank(log):
    _, losses = read_log(log('step,lr,loss\n0,0.1,3\n1,0.1,nan\n'))
    assert losses[0] == 3 and np.isnan(losses[1])
