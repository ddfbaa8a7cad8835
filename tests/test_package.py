"""The package as its users import it."""
import inspect
import json
import os
import pydoc
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import cosine_lr

ROOT = Path(__file__).resolve().parent.parent

POST = '''Callback CallbackList CancelBatchException CancelEpochException CancelFitException
Learner TrainCB TrainLearner MomentumLearner SingleBatchCB DeviceCB to_cpu
Metric Accuracy MetricsCB LRFinderCB lr_find RecorderCB ProgressCB ScheduleCB cosine digits_dls'''


def test_every_name_of_the_post_is_there():
    assert not set(POST.split()) - set(cosine_lr.__all__)


def test_every_public_name_has_a_docstring():
    assert [name for name in cosine_lr.__all__ if not getattr(cosine_lr, name).__doc__] == []


def imported(code):
    "The packages that a process has imported after `code`, the standard library's left out."
    start = f'import sys; sys.path[:] = {sys.path!r}\n'  # with -S: .pth files import things, too
    end = "\nprint(*{name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names)"
    run = [sys.executable, '-S', '-c', start + code + end]
    return set(subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())


def test_importing_it_imports_nothing_else():
    assert imported('import cosine_lr') == {'cosine_lr', '__main__'}


@pytest.mark.slow
def test_its_names_import_torch_and_numpy_and_little_more():
    every = 'import cosine_lr; [getattr(cosine_lr, name) for name in cosine_lr.__all__]'
    assert imported(every) - imported('import torch, numpy.random') <= {'cosine_lr', 'filelock'}


@pytest.mark.slow
def test_import_needs_no_extra():
    assert not imported('import cosine_lr.cli') & {'optuna', 'sqlalchemy', 'scipy'}


def first_code(notebook):
    "The code that a reader meets first."
    cells = json.loads((ROOT/'nbs'/notebook).read_text(encoding='utf-8'))['cells']
    sources = [''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code']
    return next(source for source in sources if '#| hide' not in source)


DEVELOPERS = 'IPython', 'fastcore', 'nbdev', 'optuna', 'pytest'


@pytest.mark.slow
@pytest.mark.parametrize('notebook, says', [
    ('01_recipes.ipynb', 'the last loss is'), ('06_finder.ipynb', 'LRFind: 0.'),
    ('11_torch.ipynb', 'all weights should be 1')])
def test_a_notebook_opens_with_a_script_that_needs_the_wheel_alone(notebook, says, tmp_path):
    script = tmp_path/'script.py'
    check = f'\nimport sys\nassert not {{*{DEVELOPERS}}} & {{*sys.modules}}\n'
    script.write_text(first_code(notebook) + check, encoding='utf-8')
    told = dict(os.environ, PYTHONPATH=str(ROOT))
    start = [sys.executable, '-W', 'error', script]
    run = subprocess.run(start, cwd=tmp_path, env=told, capture_output=True, text=True)
    assert not run.returncode and says in run.stdout, run.stderr
    assert list(tmp_path.iterdir()) == [script]  # it leaves nothing behind


def unexplained(name, thing):
    "Parameters of which `help` says nothing: neither behind their names nor in the text."
    if not inspect.isclass(thing) and not inspect.isfunction(thing): return []  # a value, as `base` is
    try: given = inspect.signature(thing).parameters
    except ValueError: return []  # Python's own, of an exception
    kinds = [kind for kind in getattr(thing, '__mro__', [thing]) if kind.__module__.startswith('cosine_lr')]
    told = '\n'.join(inspect.getdoc(kind) or '' for kind in kinds)
    def explained(each): return re.search(rf'^ +\**{each}: \S|`{each}\b', told, re.MULTILINE)
    faults = [f'{name}: {each}' for each in given if each not in ('self', 'cls') and not explained(each)]
    if not inspect.isclass(thing): return faults
    return faults + [fault for method, f in methods(thing) for fault in unexplained(f'{name}.{method}', f)]


def methods(cls):
    "Our own public methods with a docstring, but for the events, whose `learn` is explained by `Callback`."
    for name, method in inspect.getmembers(cls):
        method = getattr(method, '__func__', method)
        if name.startswith('_') or not inspect.isfunction(method) or not method.__doc__: continue
        if method.__module__.startswith('cosine_lr') and not hasattr(cosine_lr.Callback, name):
            yield name, method


@pytest.mark.parametrize('room', ['cosine_lr', 'cosine_lr.view', 'cosine_lr.run', 'cosine_lr.lab'])
def test_help_explains_every_parameter(room):
    module = import_module(room)
    found = {name: unexplained(name, getattr(module, name)) for name in module.__all__}
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_the_notebook_of_each_name_is_one_click_from_help():
    for name in cosine_lr.__all__:
        thing = getattr(cosine_lr, name)
        if not inspect.isclass(thing) and not inspect.isfunction(thing): continue  # a value
        page = re.search(r'^Taught in https://\S+/cosine_lr/(.+)\.html$', inspect.getdoc(thing), re.MULTILINE)
        source = (ROOT/inspect.getfile(thing)).read_text(encoding='utf-8')
        assert f'nbs/{page[1]}.ipynb' in source.partition('__all__')[0], name


def test_help_shows_parameters_and_results():
    assert '`learn`: ' in cosine_lr.Callback.__doc__
    told = pydoc.plain(pydoc.render_doc(cosine_lr.lr_find))
    assert 'sweeps: how many, each with other batches' in told
    assert 'Returns:\n        a schedule with peak 1' in pydoc.plain(pydoc.render_doc(cosine_lr.wsd))


@pytest.mark.parametrize('left_out', ['all but numpy', 'torch'])
def test_schedules_need_no_torch(tmp_path, left_out):
    "In an environment that has only NumPy, and in one that has all but torch"
    site = Path(np.__file__).parent.parent
    for path in site.iterdir():
        kept = path.name.startswith('numpy') if left_out == 'all but numpy' else 'torch' not in path.name
        if kept and 'cosine_lr' not in path.name: (tmp_path/path.name).symlink_to(path)
    (tmp_path/'cosine_lr').symlink_to(ROOT/'cosine_lr')
    run = [sys.executable, '-S', ROOT/'tools/numpy_only.py'] # with -S: no site-packages but these
    done = subprocess.run(run, env=os.environ | {'PYTHONPATH': str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 0 and "No module named 'torch'" in done.stdout, done
