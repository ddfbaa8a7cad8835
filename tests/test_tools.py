"""The checks of tools/ can fail: each is shown a small repository with one thing wrong."""
import ast
import importlib.util
import inspect
import json
import math
import re
import runpy
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tools'))


def load(name):
    spec = importlib.util.spec_from_file_location(f'tools_{name}', ROOT/f'tools/{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


checks, readme, release = load('test'), load('readme'), load('release')
import progress  # noqa: E402
import tutorial  # noqa: E402
import typed  # noqa: E402


def cell(kind, id, source, outputs=()):
    lines = source.splitlines(True)
    if kind == 'markdown': return {'cell_type': kind, 'id': id, 'metadata': {}, 'source': lines}
    return {'cell_type': kind, 'execution_count': None, 'id': id, 'metadata': {}, 'outputs': list(outputs),
            'source': lines}


INSTALL = 'try: import cosine_lr\nexcept ImportError:\n    %pip install cosine_lr'
KERNEL = {'kernelspec': {'display_name': 'python3', 'language': 'python', 'name': 'python3'}}


def printed(text): return {'name': 'stdout', 'output_type': 'stream', 'text': text.splitlines(True)}


def shown(data): return {'output_type': 'display_data', 'metadata': {}, 'data': data}


def notebook(*cells, **metadata):
    return {'cells': cells, 'metadata': metadata, 'nbformat': 4, 'nbformat_minor': 5}


def write_notebook(path, *cells, **metadata):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(notebook(*cells, **metadata), indent=1, ensure_ascii=False)
    path.write_text(f'{text}\n', encoding='utf-8')


def read(path): return path.read_text(encoding='utf-8')


def bin_of(name): return Path(sys.executable).parent/name


PLOT = 'nbs/view/plot.ipynb'
SOUND = ('clean', 'export', 'ruff', 'arrows', 'sizes', 'readme', 'pytest', 'notebooks')


@pytest.fixture(scope='module')
def sound(tmp_path_factory):
    "A repository of two notebooks, one of them in a wing, that passes the checks named above."
    root = tmp_path_factory.mktemp('sound')
    for name in ('settings.ini', 'pyproject.toml'): shutil.copy(ROOT/name, root)
    for name in ('nbs', 'cosine_lr', 'tests'): (root/name).mkdir()
    (root/'cosine_lr/__init__.py').write_text('__version__ = "0.1.0"\n', encoding='utf-8')
    (root/'tests/test_nothing.py').write_text('def test_nothing(): pass\n', encoding='utf-8')
    write_notebook(root/PLOT,
                   cell('code', 'default-exp', '#| default_exp view.plot\n' + INSTALL),
                   cell('markdown', 'title', '# What is drawn?\n> A number'),
                   cell('code', 'one', '#| export\ndef one():\n    "The number."\n    return 1'),
                   cell('code', 'show', 'print(one())', [printed('1\n')]))
    write_notebook(root/'nbs/index.ipynb',
                   cell('code', 'install', '#| hide\n' + INSTALL),
                   cell('markdown', 'title', '# Small\n\n[Plot](view/plot.ipynb)\n\n    2 passed, 0 failed'),
                   cell('code', 'show', 'print(1)', [printed('1\n')]))
    subprocess.run([bin_of('nbdev_export')], cwd=root, check=True)
    load('explain').explain(root, 'cosine_lr')
    readme.write(root)
    return root


@pytest.fixture
def repo(sound, tmp_path):
    return shutil.copytree(sound, tmp_path/'repo')


def edit(path, old, new):
    text = read(path)
    assert old in text
    path.write_text(text.replace(old, new), encoding='utf-8')


def run(root, *names):
    done = subprocess.run([sys.executable, ROOT/'tools/test.py', '--root', root, *names],
                          capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines()[-1], done.stdout


@pytest.mark.slow
def test_a_sound_repository_passes(repo):
    status, last, out = run(repo, *SOUND)
    assert (status, last) == (0, '2 passed, 0 failed'), out
    for k, name in enumerate(SOUND, 1): assert f'--- {k} of {len(SOUND)}, {name}: ' in out
    took = re.search(r'^--- (.+ \d+ s)$', out, re.MULTILINE)[1]
    assert [stage.split()[0] for stage in took.split(', ')] == list(SOUND)
    assert re.findall(r'(\d) of 2 notebooks, .*: (?:plot|index) \(', out) == ['1', '2']


def test_settings_agree_with_the_version_in_the_package():
    version = re.search(r'^version = (.*)$', read(ROOT/'settings.ini'), re.MULTILINE)[1]
    assert f'__version__ = "{version}"' in read(ROOT/'cosine_lr/__init__.py')
    assert f'version: {version}' in read(ROOT/'CITATION.cff')


def test_links_of_the_wheel_agree_with_the_settings():
    table = read(ROOT/'pyproject.toml').split('[project.urls]\n')[1].split('\n\n')[0]
    home = tutorial.settings(ROOT)['git_url']
    site = re.search(r'^  site-url: (.*)$', read(ROOT/'nbs/_quarto.yml'), re.MULTILINE)[1]
    assert dict(re.findall(r'^(\w+) = "(.+)"$', table, re.MULTILINE)) == {
        'Docs': site, 'Repository': home, 'Changelog': f'{home}/blob/main/CHANGELOG.md'}


# --- notebooks ---

def test_the_oldest_torch_is_named_alike():
    oldest = re.search(r'torch>=([\d.]+)', read(ROOT/'settings.ini'))[1]
    for name in ('.github/workflows/test.yaml', 'CONTRIBUTING.md'):
        assert f'make torch TORCH={oldest}.0' in read(ROOT/name)
    assert f'PyTorch {oldest}' in read(ROOT/'README.md')


def test_the_long_description_has_links_that_work_elsewhere(monkeypatch):
    import setuptools
    told = {}
    monkeypatch.setattr(setuptools, 'setup', lambda **fields: told.update(fields))
    runpy.run_path(str(ROOT/'setup.py'))
    links = re.findall(r'(!?)\[[^\]]*\]\(([^)\s]+)', told['long_description'])
    assert len(links) > 50 and all(link.startswith('https://') for _, link in links)
    home = 'https://github.com/cosine-lr/cosine_lr'
    assert ('', f'{home}/blob/main/nbs/00_schedule.ipynb') in links
    assert ('!', f'{home}/raw/main/docs/readme/headline.png') in links


@pytest.mark.parametrize('old, new, fault', [
    ('"execution_count": null', '"execution_count": 3', 'not clean'),
    ('"output_type": "stream"', '"output_type": "error"', 'ended in an error'),
    ('# What is drawn?', '# ' + 'x'*400_000, 'KB, over 400'),
    ('%pip install', 'pass #', 'does not install cosine_lr'),
])
def test_unclean_notebooks(repo, old, new, fault):
    edit(repo/PLOT, old, new)
    assert any(fault in line for line in checks.clean(repo))


def test_a_notebook_that_was_not_executed(repo):
    write_notebook(repo/PLOT, cell('code', 'install', INSTALL), cell('code', 'show', 'print(1)'))
    assert checks.clean(repo) == ['plot.ipynb: no cell has an output: commit it executed',
                                  'plot.ipynb: cell show prints, but has no output']


def test_two_notebooks_of_one_name(repo):
    shutil.copy(repo/PLOT, repo/'nbs')
    assert 'plot.ipynb: 2 notebooks have this name' in checks.clean(repo)


@pytest.mark.parametrize('kind', ['code', 'markdown'])
@pytest.mark.parametrize('mark', ['<<<<<<< HEAD', '=======', '>>>>>>> mine', '`<<<<<<< HEAD`'])
def test_the_marks_of_a_conflict(kind, mark):
    nb = notebook(cell('code', 'install', INSTALL), cell(kind, 'torn', f'one\n{mark}\ntwo'))
    assert 'cell torn holds the marks of a conflict' in [*tutorial.not_ready(nb)]
    harmless = notebook(cell('code', 'install', INSTALL), cell(kind, 'whole', 'a << b >> c\n======== x'))
    assert not any('conflict' in fault for fault in tutorial.not_ready(harmless))


@pytest.mark.parametrize('text, found', [
    ('/a/b-c/cosine_lr/claims.py:118: UserWarning: x', True), ('cosine_lr/claims.py', False)])
def test_a_path_of_one_machine_in_a_committed_notebook(text, found):
    warned = cell('code', 'warned', 'x = 1')
    warned['outputs'] = [dict(output_type='stream', name='stderr', text=[text])]
    faults = tutorial.not_ready(notebook(cell('code', 'install', INSTALL), warned))
    assert any('path of a file' in fault for fault in faults) == found


def test_a_widget_in_a_committed_notebook():
    for data in ({'text/plain': 'IntSlider(value=0)', tutorial.WIDGET: {'model_id': '0'}},
                 {'text/plain': 'VBox(children=())'}):
        nb = notebook(cell('code', 'install', INSTALL), cell('code', 'show', 'slider', [shown(data)]))
        assert ['holds a widget' in fault for fault in tutorial.not_ready(nb)] == [True]


@pytest.mark.slow
def test_notebooks_that_fail_or_do_not_run(repo):
    write_notebook(repo/'nbs/lab/fails.ipynb', cell('code', 'fails', 'assert False'))
    write_notebook(repo/'nbs/skipped.ipynb', cell('markdown', 'title', '# Skipped\n\n- skip_exec: true'),
                   cell('code', 'ok', 'print(1)'))
    write_notebook(repo/'nbs/unevaluated.ipynb', cell('code', 'off', '#| eval: false\nprint(1)'),
                   cell('code', 'flagged', '#| notest\nprint(1)'))
    status, last, out = run(repo, 'notebooks')
    assert (status, last) == (1, '2 passed, 3 failed')
    for reason in ('fails.ipynb: a cell failed', 'skipped.ipynb: did not run',
                   'unevaluated.ipynb: has no cell'):
        assert reason in out


@pytest.mark.slow
def test_nested_notebooks_that_nbdev_skips(repo):
    edit(repo/'settings.ini', 'recursive = True', 'recursive = False')
    assert run(repo, 'notebooks')[1] == '1 passed, 1 failed'


# --- modules ---

def test_modules_out_of_step(repo):
    edit(repo/'cosine_lr/view/plot.py', 'return 1', 'return 2')
    (repo/'cosine_lr/stray.py').touch()
    assert sorted(line.split(':')[0] for line in checks.export(repo)) == [
        'cosine_lr/stray.py', 'cosine_lr/view/plot.py']


def test_an_export_that_nbdev_would_skip_in_silence(repo, monkeypatch):
    monkeypatch.setenv('IN_TEST', '1')
    edit(repo/'cosine_lr/view/plot.py', 'return 1', 'return 2')
    assert len(checks.export(repo)) == 1


COMMENTED = '''
class Thing:
    "A thing"
    size: int = 1
    # how heavy,
    # in grams
    mass: float = 2.

    def __init__(
        self,
        name: str = '#', # a word
        *parts, # things
        seed=0,
    ):
        "Make it"

def made(a, b): # not of a parameter
    "One line"

def found(
    path: str, # where
    *,
    deep: bool = True, # a "#" is no comment
) -> list: # names
    'Names with """ and \\\\ in them'

def same(path: str) -> str: # `path`: where
    "A name"
    return path

def _private(
    path: str, # where
): "A name"
'''


def test_comments_on_parameters_go_into_docstrings():
    explained = load('explain').explained
    text = explained(COMMENTED)
    thing, made, found, same, private = (ast.get_docstring(node) for node in ast.parse(text).body)
    assert thing == ('A thing\n\nArgs:\n    name: a word\n    *parts: things\n'
                     '    seed: the same seed gives the same numbers\n\n'
                     'Attributes:\n    mass: how heavy, in grams')
    assert (made, private) == ('One line', 'A name') and same == 'A name\n\nArgs:\n    path: where'
    assert found == ('Names with """ and \\ in them\n\nArgs:\n    path: where\n'
                     '    deep: a "#" is no comment\n\nReturns:\n    names')
    assert explained(text) == text
    assert 'path: a folder\n' in explained(text.replace('# where', '# a folder'))
    assert without_docstrings(text) == without_docstrings(COMMENTED)


@pytest.mark.parametrize('line, told', [
    ('def f(x: int) -> int: # what is asked for', ''),
    ('def f(x: int,\n      y: int) -> int: # what is asked for', ''),
    ('def f(x: int) -> None: # a number', 'x: a number'),
    ('def f(x: int): # a number', 'x: a number'),
    ('def f(x: int) -> int: # `x`: a number', 'x: a number'),
    ('def f(x: int) -> int: # x: a number', 'x: a number'),
    ('def f(x: int) -> int: # `y`: a number', ''),
    ('def f(x: int, y: int) -> int: # `y`: a number', 'y: a number'),
    ('def f(x: int, y: int) -> int: # `y`: a number; `x`: another', 'x: another\n    y: a number'),
    ('def f(x: int, y: int) -> int: # a number', ''),
    ('def f(x: int, y: int) -> int: # as for `g`', 'x: as for `g`\n    y: as for `g`'),
    ('def f(\n    x: int, # `x`: a number\n) -> int:', 'x: a number'),
    ('def f(\n    x: int, # `y`: a part of it\n) -> int:', 'x: `y`: a part of it'),
    ('def f(cbs: list) -> None:', ''),
    ('def f(seed: int) -> None:', 'seed: the same seed gives the same numbers'),
    ('def f(seed: int | None) -> None:', ''),
    ('def f(model: nn.Module) -> None:', 'model: a torch module'),
    ('def f(model: Quadratic) -> None:', ''),
    ('def f(model: Quadratic, seed: int) -> None: # `model`: of the loss',
     'model: of the loss\n    seed: the same seed gives the same numbers'),
])
def test_a_parameter_is_explained_by_what_is_said_of_it_or_not_at_all(line, told):
    made, = ast.parse(load('explain').explained(f'{line}\n    "A function"\n')).body
    assert ast.get_docstring(made) == 'A function' + (f'\n\nArgs:\n    {told}' if told else '')


@pytest.mark.parametrize('line, told', [
    ('def f() -> int: # a number', 'a number'),
    ('def f(self) -> int: # a number', 'a number'),
    ('def f(x: int) -> int: # a number', ''),
    ('def f(self) -> int: # type: ignore[override]', ''),
    ('def f(\n    x: int,\n) -> int: # a number', 'a number'),
])
def test_a_result_is_explained_where_no_parameter_can_be_meant(line, told):
    made, = ast.parse(load('explain').explained(f'{line}\n    "A function"\n')).body
    assert ast.get_docstring(made) == 'A function' + (f'\n\nReturns:\n    {told}' if told else '')


ONE_LINE = """# AUTOGENERATED! DO NOT EDIT! File to edit: ../nbs/run/thing.ipynb.
__all__ = ['Stop', 'made']

class Stop(Exception): "It ends"
class Other(Exception): "It goes on"

def made(): # a thing
    "Make it"
    def inner(): "Not seen"
"""


def test_a_public_name_tells_its_notebook():
    explained = load('explain').explained
    text = explained(ONE_LINE)
    _, stop, other, made = ast.parse(text).body
    told = 'Taught in https://cosine-lr.github.io/cosine_lr/run/thing.html'
    assert ast.get_docstring(stop) == f'It ends\n\n{told}' and ast.get_docstring(other) == 'It goes on'
    assert ast.get_docstring(made) == f'Make it\n\nReturns:\n    a thing\n\n{told}'
    assert explained(text) == text and without_docstrings(text) == without_docstrings(ONE_LINE)


INHERITED = '''
@dataclass
class _Base:
    mass: float # in grams

class Thing(_Base):
    "A thing"

class Looked(Thing):
    """A thing that was looked at"""
    def __init__(
        self,
        name: str, # a word
    ):
        "Make it"
'''


def test_parameters_of_a_base_are_explained_too():
    base, thing, looked = ast.parse(load('explain').explained(INHERITED)).body
    assert ast.get_docstring(base) is None
    assert ast.get_docstring(thing) == 'A thing\n\nArgs:\n    mass: in grams'
    assert ast.get_docstring(looked) == 'A thing that was looked at\n\nArgs:\n    name: a word'


def test_what_a_data_class_sets_itself_is_no_argument():
    code = '''
@dataclass
class Box:
    "A box"
    side: float # in metres
    volume: float = field(init=False) # in cubic metres
'''
    box, = ast.parse(load('explain').explained(code)).body
    assert ast.get_docstring(box) == (
        'A box\n\nArgs:\n    side: in metres\n\nAttributes:\n    volume: in cubic metres')


def test_no_comment_on_a_public_signature_is_lost():
    explain, lost = load('explain'), []
    for path in (ROOT/'cosine_lr').rglob('*.py'):
        if 'AUTOGENERATED' not in (text := read(path)) or path.name == '_modidx.py': continue
        notes, tree = explain.comments(text), ast.parse(text)
        for node in explain.documented(tree):
            told = ' '.join(ast.get_docstring(node).split())
            own = [each for each in getattr(node, 'body', ()) if getattr(each, 'name', '') == '__init__']
            for each in own if isinstance(node, ast.ClassDef) else [node]:
                lines = range(each.lineno, each.body[0].lineno)
                parts = [part for line in lines for part in re.split('; (?=`)', notes.get(line, ''))]
                said = {part: re.sub(r'^`(\w+)`: ', r'\1: ', part) for part in parts}
                lost += [f'{path.name}, {node.name}: {part}' for part, bare in said.items()
                         if not (part in told or bare in told or part.startswith('type: '))]
    assert lost == []


def without_docstrings(text):
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)): node.body[0] = ast.Pass()
    return ast.dump(tree)


def test_docstrings_out_of_step(repo):
    for name in (PLOT, 'cosine_lr/view/plot.py'): edit(repo/name, 'def one():', 'def one(x=1): # how many')
    assert [line.split(':')[0] for line in checks.export(repo)] == ['cosine_lr/view/plot.py']
    load('explain').explain(repo, 'cosine_lr')
    assert checks.export(repo) == [] and 'x: how many' in read(repo/'cosine_lr/view/plot.py')


def test_a_facade_out_of_step(tmp_path):
    shutil.copytree(ROOT/'cosine_lr', tmp_path/'cosine_lr')
    assert checks.facade_in_step(tmp_path) == []
    edit(tmp_path/'cosine_lr/view/plot.py', "__all__ = [", "__all__ = ['another', ")
    assert [line.split(':')[0] for line in checks.facade_in_step(tmp_path)] == [
        'cosine_lr/view/__init__.py', 'cosine_lr/view/__init__.pyi']
    (tmp_path/'cosine_lr/view/new.py').write_text("__all__ = ['new']\n", encoding='utf-8')
    with pytest.raises(ValueError, match=r"WINGS\['view'\] lacks \['new'\]"): checks.facade_in_step(tmp_path)


def test_explaining_twice_changes_nothing():
    explain = load('explain')
    for path in (ROOT/'cosine_lr').rglob('*.py'):
        text = read(path)
        if 'AUTOGENERATED' in text and path.name != '_modidx.py': assert explain.explained(text) == text, path


@pytest.mark.parametrize('source, rule', [('missing', 'F821'), (f"1  # {' x'*60}", 'E501')])
def test_undefined_names_and_long_lines(repo, source, rule):
    (repo/'tests/test_more.py').write_text(f'def f(): return {source}\n', encoding='utf-8')
    write_notebook(repo/'nbs/more.ipynb', cell('code', 'more', f'def f(): return {source}'))
    found = checks.ruff(repo)
    assert [line.split(':')[0] for line in found] == ['nbs/more.ipynb', 'tests/test_more.py']
    assert all(f' {rule} ' in line for line in found)


def test_long_lines_of_a_makefile(repo):
    (repo/'Makefile').write_text(f"a:\n\t@echo {'x'*110}\n", encoding='utf-8')
    assert checks.ruff(repo) == ['Makefile:2: has 117 columns, over 110']


def test_the_line_limit_is_the_house_rule():
    assert 'line-length = 110' in read(ROOT/'pyproject.toml')
    ignored = re.search(r'per-file-ignores\]\n(.+?)(\n\n|\Z)', read(ROOT/'pyproject.toml'), re.DOTALL)[1]
    assert 'E501' not in ignored


# --- who imports whom ---

@pytest.mark.parametrize('source', [
    'from ..schedule import cosine', 'from .. import schedule', 'import cosine_lr.schedule',
    'from cosine_lr import schedule', 'from cosine_lr.schedule import cosine',
    'def f():\n    from ..schedule import cosine',
])
def test_a_forbidden_arrow(repo, monkeypatch, source):
    monkeypatch.setitem(checks.ARROWS, 'view.lint', set())
    (repo/'cosine_lr/schedule.py').touch()
    (repo/'cosine_lr/view/lint.py').write_text(source, encoding='utf-8')
    assert [line.split(': ')[1] for line in checks.arrows(repo)] == ['view.lint may not import schedule']


def test_arrows_to_and_from_the_unknown(repo):
    (repo/'cosine_lr/stray.py').touch()
    (repo/'cosine_lr/view/lint.py').write_text('from . import one\nfrom .gone import two', encoding='utf-8')
    assert len(checks.arrows(repo)) == 3


def test_a_private_name_of_another_module(repo):
    source = 'def f():\n    from .plot import _one\n'
    (repo/'cosine_lr/view/explorer.py').write_text(source, encoding='utf-8')
    assert checks.arrows(repo) == ['cosine_lr/view/explorer.py:2: imports the private name view.plot._one']


@pytest.mark.parametrize('use', ['line._seen', 'line._look()', "getattr(line, '_seen')", 'plot._draw'])
def test_a_private_attribute_of_another_modules_object(repo, use):
    (repo/'cosine_lr/view/plot.py').write_text(
        'class Line:\n    def __init__(self): self._seen = 0\n    def _look(self): pass\n'
        'def _draw(): pass\n', encoding='utf-8')
    explorer = repo/'cosine_lr/view/explorer.py'
    explorer.write_text(f'def f(line): {use}\n', encoding='utf-8')
    name = re.search(r'_\w+', use)[0]
    assert checks.arrows(repo) == [f'cosine_lr/view/explorer.py:1: uses the private name {name} of view.plot']
    explorer.write_text(f'class Own:\n    def {name}(self): pass\ndef f(line): {use}\n', encoding='utf-8')
    assert checks.arrows(repo) == []


def arrows_of(*pairs, lazy=True): return [(module, target, '', 1, lazy) for module, target in pairs]


def chain(length): return arrows_of(*((f'lab.{i}', f'lab.{i + 1}') for i in range(length - 1)))


def test_too_many_arrows_and_floors():
    assert [*checks.shape(chain(checks.MOST_FLOORS))] == []
    way = ' → '.join(f'lab.{i}' for i in range(checks.MOST_FLOORS + 1))
    assert [*checks.shape(chain(checks.MOST_FLOORS + 1))] == [f'8 floors, over 7: {way}']
    many = arrows_of(*((f'lab.{i}', 'schedule') for i in range(checks.MOST_ARROWS)))
    assert [*checks.shape(many)] == []
    twice = [*many, *many, *arrows_of(('cli', 'lab.0'), ('lab', '__init__'))]  # counted once, and not at all
    assert [*checks.shape(twice)] == []
    most = checks.MOST_ARROWS
    assert [*checks.shape([*many, *arrows_of(('run.x', 'schedule'))])] == [f'{most + 1} arrows, over {most}']


def test_arrows_to_the_ground_and_from_it():
    many = arrows_of(*((f'lab.{i}', 'schedule') for i in range(checks.MOST_ARROWS)))
    assert [*checks.shape([*many, *arrows_of(('lab.0', 'check'), ('lab.1', 'view.plot'))])] == []
    assert [*checks.shape(arrows_of(('check', 'lab.0')))] == [
        'check is on the ground and may not import lab.0', 'check, line 1: the core may not import lab.0']


def test_the_ground():
    used = arrows_of(*((f'lab.{i}', ground) for i in range(checks.MOST_ARROWS) for ground in checks.GROUND))
    assert [*checks.shape(used)] == []  # any module may use it
    assert [*checks.shape(arrows_of(('check', 'learner')))] == [
        'check is on the ground and may not import learner']


def test_attributes_that_begin_as_none_are_typed():
    code = """
__all__ = ['Public']
class _Half:
    judged: int | None
    def reset(self): self.judged, self.best = None, None
class Public(_Half):
    def __init__(self):
        self.seen, self.count, self._own = None, 0, None
        self.typed: int | None = None
class Private:
    seen: int | None # a class of its own
    def __init__(self): self.x = None
def other(seen: int): best: int | None = seen
"""
    assert [*checks.untyped_attributes(ast.parse(code))] == [('Public.seen', 8), ('Public.best', 5)]


def test_arrows_in_a_circle():
    found = arrows_of(('schedule', 'view.lint'), ('view.lint', 'metric'), ('metric', 'schedule'))
    circle, = checks.shape(found)
    assert circle.startswith('a circle: ')
    for name in ('schedule', 'view.lint', 'metric'): assert name in circle


def test_the_core_needs_no_wing():
    assert [*checks.shape(arrows_of(('schedule', 'view.plot'), ('run.fast', 'view.plot')))] == []
    assert [*checks.shape(arrows_of(('schedule', 'view.plot'), lazy=False))] == [
        'schedule, line 1: the core may import view.plot only inside a function']
    assert [*checks.shape(arrows_of(('schedule', 'lab.fleet')))] == [
        'schedule, line 1: the core may not import lab.fleet']


# --- how long the core is ---

def test_lines_of_code():
    text = ('"""A module,\n# of two lines"""\n# %% a header\n__all__ = ["f",\n  "g"]\n\n'
            'x = """text\n# text\n"""  # why\n'
            'def f(\n    a, # what it is\n):\n    "What it does"\n    return "not # this"\n\n'
            'class E(Exception): "Its docstring"\n')
    assert checks.code_lines(text) == ['x = """text', '# text', '"""', 'def f(', '    a,', '):',
                                       '    return "not # this"', 'class E(Exception):']


def test_a_core_that_is_too_long(repo):
    path, (lines, kib) = repo/'cosine_lr/schedule.py', checks.SIZES[checks.SEVEN]
    path.write_text('# not counted\n\n'*999 + 'x = 1\n'*lines, encoding='utf-8')
    assert checks.sizes(repo) == []
    path.write_text('x = 1\n'*(lines + 1), encoding='utf-8')
    assert f'{lines + 1} lines of code, over {lines}' in checks.sizes(repo)[0]
    path.write_text(f'x = "{"x"*1024}"\n'*math.ceil(kib), encoding='utf-8')
    assert f' KiB of code, over {kib}' in checks.sizes(repo)[0]


# --- types ---

@pytest.mark.parametrize('code, missing', [
    ('def f(a, *, b: int = 1, **more) -> int: return a', 'f lacks the type of a, more'),
    ('def f(a: int, *rest: int): return a', 'f lacks the type of return'),
    ('class f:\n    def __init__(self, a): self.a = a', 'f.__init__ lacks the type of a'),
    ('class f:\n    def g(self) -> int: return 1\n    def h(self): return 1', 'f.h lacks the type of return'),
    ('class _Part:\n    def h(self): return 1\nclass f(_Part): pass', 'f.h lacks the type of return'),
])
def test_public_functions_without_types(tmp_path, code, missing):
    (tmp_path/'cosine_lr').mkdir()
    (path := tmp_path/'cosine_lr/schedule.py').write_text(f"__all__ = ['f']\n{code}\n", encoding='utf-8')
    assert [line.split(': ')[1] for line in checks.annotations(tmp_path)] == [missing]
    edit(path, "['f']", '[]')
    assert checks.annotations(tmp_path) == []


@pytest.mark.slow
def test_what_type_checkers_must_see(tmp_path):
    (tmp_path/'cosine_lr').symlink_to(ROOT/'cosine_lr')
    shutil.copy(ROOT/'pyproject.toml', tmp_path)
    snippet = "```python\nfrom cosine_lr import cosine\nx: int = 'word'\n```\n"
    (tmp_path/'README.md').write_text(snippet, encoding='utf-8')
    (folder := tmp_path/'tests/types').mkdir(parents=True)
    head = 'from typing_extensions import assert_type\nfrom cosine_lr import Learner, Schedule, cosine\n'
    (folder/'seen.py').write_text(head + 'assert_type(2*cosine(), float)\n', encoding='utf-8')
    (folder/'refused.py').write_text(head + 'cosine(1, 0)  # type: ignore\n', encoding='utf-8')
    gone = 'def f(learn: Learner) -> None:\n    learn.gone\n'
    (folder/'untyped.py').write_text(head + gone, encoding='utf-8')
    found = typed.faults(tmp_path)
    for checker in ('mypy', 'pyright'):
        for place in ('README.md, its snippets:2', 'seen.py:3', 'refused.py:3', 'untyped.py:4'):
            assert any(line.startswith(checker) and place in line for line in found), (checker, place, found)
    assert len(found) == 8, found


# --- README ---

def test_a_readme_out_of_date(repo):
    edit(repo/'nbs/index.ipynb', '# Small', '# Smaller')
    assert checks.readme_in_step(repo) == ["README.md, line 3: has '# Small', the notebook gives '# Smaller'"]


@pytest.mark.parametrize('quote', ['3 passed, 0 failed', '2 passed, 1 failed', 'nothing'])
def test_a_readme_that_quotes_another_count(repo, quote):
    edit(repo/'nbs/index.ipynb', '2 passed, 0 failed', quote)
    readme.write(repo)
    assert len(checks.readme_in_step(repo)) == 1


def test_a_readme_has_figures_links_and_no_hidden_cells(repo):
    links = '[Plot](view/plot.ipynb) [rules](../CONTRIBUTING.md) [site](https://example.org)'
    write_notebook(repo/'nbs/index.ipynb', cell('markdown', 'title', f'# Small\n\n{links}'),
                   cell('code', 'secret', '#| hide\nsecret = 1'),
                   cell('code', 'loss-curve', '#| echo: false\n#| fig-alt: The loss\ndraw()',
                        [shown({'image/png': 'iVBORw0KGgo='})]))
    readme.write(repo)
    text = read(repo/'README.md')
    assert '[Plot](nbs/view/plot.ipynb) [rules](CONTRIBUTING.md) [site](https://example.org)' in text
    assert '![The loss](docs/readme/loss-curve.png)' in text
    assert 'secret' not in text and 'draw' not in text and '#|' not in text
    (repo/'docs/readme/loss-curve.png').write_bytes(b'')
    assert readme.faults(repo) == ['docs/readme/loss-curve.png is missing or differs from the notebook']


# --- the run of the checks ---

@pytest.mark.slow
def test_a_failed_check_alone_fails_the_run(repo):
    (repo/'cosine_lr/stray.py').touch()
    status, last, out = run(repo, 'arrows', 'notebooks')
    assert (status, last) == (1, '2 passed, 0 failed')
    assert out.splitlines()[-2] == 'Failed: arrows'


@pytest.mark.slow
def test_a_failing_pytest(repo, capsys):
    (repo/'tests/test_nothing.py').write_text('def test_nothing(): assert False\n', encoding='utf-8')
    assert checks.pytests(repo) == ['pytest ended with status 1']
    assert 'test_nothing.py::test_nothing FAILED' in capsys.readouterr().out


def test_a_missing_tool_is_a_failure(repo, monkeypatch):
    monkeypatch.setattr(sys, 'executable', str(repo/'bin/python'))
    for check in (checks.clean, checks.export, checks.ruff, checks.types, checks.pytests):
        assert checks.attempt(check, repo)[0].startswith('FileNotFoundError')
    with pytest.raises(FileNotFoundError): tutorial.run_notebooks(repo, workers=1)


def test_nothing_is_silent_for_long(monkeypatch, capsys):
    monkeypatch.setattr(progress, 'PAUSE', .01)
    with progress.Progress(2, 'things') as told:
        told.begin('first')
        told.begin('second')
        told.end('first')
        out = ''
        while '1 of 2 things,   0 s: second …' not in out:  # a test's own limit of time ends it otherwise
            time.sleep(.01)
            out += capsys.readouterr().out


def test_a_hook_for_commits_calls_what_make_test_calls():
    import yaml
    repos = yaml.safe_load(read(ROOT/'.pre-commit-config.yaml'))['repos']
    assert [repo['repo'] for repo in repos] == ['local']
    for hook in repos[0]['hooks']:
        python, script, *names = hook['entry'].split()
        assert (python, script) == ('.venv/bin/python', 'tools/test.py')
        assert names and set(names) <= checks.CHECKS.keys()


def state_of_git(root):
    "What the set-up may change: git's keys here, and its hooks."
    hooks = {path.name for path in (root/'.git/hooks').iterdir() if path.suffix != '.sample'}
    return hooks | set(git(root, 'config', '--local', '--list').stdout.splitlines())


def test_make_clean_leaves_nothing(tmp_path):
    shutil.copy(ROOT/'Makefile', tmp_path)
    git(tmp_path, 'init')
    (tmp_path/'.venv').mkdir()
    fresh = state_of_git(tmp_path)
    set_up_hooks(tmp_path, tmp_path/'.venv')
    assert len(state_of_git(tmp_path) - fresh) == 3  # two keys, and a hook that says what it is
    assert 'make clean removes this' in read(tmp_path/'.git/hooks/post-merge')

    ignored = [line for line in read(ROOT/'.gitignore').splitlines() if line and not line.startswith('#')]
    more = 'cosine_lr/lab/__pycache__', 'nbs/lab/.ipynb_checkpoints', '.venv-oldest'
    for name in (*ignored, *more):
        place = tmp_path/name.replace('*', 'cosine_lr')
        if not place.exists(): place.mkdir(parents=True)
    subprocess.run(['make', '--silent', 'clean'], cwd=tmp_path, check=True)
    assert state_of_git(tmp_path) == fresh
    shutil.rmtree(tmp_path/'.git')
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*')}
    assert left - {'cosine_lr', 'cosine_lr/lab', 'nbs', 'nbs/lab', '.gitattributes'} == {'Makefile'}


# --- a release ---

@pytest.fixture
def unreleased(tmp_path):
    for name in ('settings.ini', 'CITATION.cff', 'cosine_lr/__init__.py'):
        (tmp_path/name).parent.mkdir(exist_ok=True)
        version = r'^((?:__)?version(?:__)?(?::| =) "?)\d+\.\d+\.\d+'  # whichever this one is
        old = re.sub(version, r'\g<1>0.1.0', read(ROOT/name), flags=re.MULTILINE)
        (tmp_path/name).write_text(old, encoding='utf-8')
    changelog = '# Changelog\n\n## Unreleased\n\n- More.\n\n## 0.1.0\n'
    (tmp_path/'CHANGELOG.md').write_text(changelog, encoding='utf-8')
    return tmp_path


def test_a_release_sets_the_version_everywhere(unreleased):
    places = 'settings.ini', 'CITATION.cff', 'cosine_lr/__init__.py'
    before = {name: read(unreleased/name) for name in places}
    release.to(unreleased, '1.2.3', today='2030-01-02')
    for name, text in before.items():
        old, new = text.splitlines(), read(unreleased/name).splitlines()
        changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
        assert len(changed) == 1 and '1.2.3' in changed[0][1], name  # all else stays, comments too
    assert '## 1.2.3 (2030-01-02)' in read(unreleased/'CHANGELOG.md')


@pytest.mark.parametrize('version', ['1.2', 'v1.2.3', '1.2.3.4', '', '0.0.9'])
def test_versions_that_cannot_be_released(unreleased, version):
    before = read(unreleased/'settings.ini')
    with pytest.raises(ValueError, match='VERSION must be'): release.to(unreleased, version)
    assert read(unreleased/'settings.ini') == before


@pytest.mark.parametrize('line', ['', 'version: 0.1.0\nversion: 0.1.0\n'])
def test_a_file_with_no_version_or_two_is_refused(unreleased, line):
    (unreleased/'CITATION.cff').write_text(line, encoding='utf-8')
    with pytest.raises(ValueError, match='CITATION.cff must have one line version: .*, and has'):
        release.to(unreleased, '1.2.3')
    assert 'version = 0.1.0' in read(unreleased/'settings.ini')


def test_a_release_that_is_made_again_changes_nothing(unreleased):
    release.to(unreleased, '1.2.3', today='2030-01-02')
    before = {path: read(path) for path in unreleased.rglob('*') if path.is_file()}
    release.to(unreleased, '1.2.3', today='2030-03-04')
    assert {path: read(path) for path in before} == before


def test_what_language_models_read():
    llms = load('llms')
    short, full = llms.llms(ROOT), llms.context(ROOT)
    for page in re.findall(rf'\]\({re.escape(llms.SITE)}/(\S+)\.html\)', short):
        if not page.startswith('reference/'): assert (ROOT/f'nbs/{page}.ipynb').exists(), page
    assert short.startswith('# cosine_lr\n\n> Learning-rate annealing') and '## Modules' in short
    assert full.count('<doc ') == len(tutorial.notebooks(ROOT)) and 'def lr_find(' in full


def test_a_release_without_a_changelog(unreleased):
    (unreleased/'CHANGELOG.md').write_text('# Changelog\n\n## 0.1.0 (2029-01-02)\n', encoding='utf-8')
    with pytest.raises(ValueError, match="CHANGELOG.md must have a heading '## Unreleased'"):
        release.to(unreleased, '1.2.3')
    assert 'version = 0.1.0' in read(unreleased/'settings.ini')


# --- notebooks run in place ---

@pytest.mark.slow
def test_kernels_run_on_one_thread(repo, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '4')
    execute, path = load('execute'), repo/PLOT
    write_notebook(path, cell('code', 'count', 'import os\nprint(os.environ["OMP_NUM_THREADS"])'))
    assert execute.shown(execute.run(path).cells[0]) == [('stdout', '1\n')]


@pytest.mark.slow
def test_prints_that_follow_each_other_are_one_output(repo):
    execute, path = load('execute'), repo/PLOT
    pieces = ('from IPython.display import display\nfor i in range(3): print(i, flush=True)\n'
              'display(3)\nprint(4)')
    write_notebook(path, cell('code', 'pieces', pieces))
    assert [output.get('text') for output in execute.run(path).cells[0].outputs] == ['0\n1\n2\n', None, '4\n']


@pytest.mark.slow
def test_outputs_that_are_not_the_committed_ones(repo):
    import nbformat
    execute, path = load('execute'), repo/PLOT
    as_committed = partial(nbformat.read, path, as_version=4)
    assert [*execute.differences(execute.run(path), as_committed())] == []
    edit(path, '"1\\n"', '"2\\n"')
    assert [*execute.differences(execute.run(path), as_committed())] == ['cell show: stdout']


def test_differences_of_two_runs():
    import nbformat
    execute = load('execute')
    def ran(*outputs): return nbformat.from_dict(notebook(cell('code', 'show', 'draw()', outputs)))
    def figure(png): return ran(printed('1\n'), shown({'image/png': png}))
    assert [*execute.differences(figure('a'), figure('b'))] == ['cell show: image/png']
    pieces, whole = ran(printed('1\n'), printed('<f at 0x7f>\n')), ran(printed('1\n<f at 0x80>\n'))
    assert [*execute.differences(pieces, whole)] == []


# --- what the documentation promises ---

def links_of(name):
    "Each entry of a glossary: (its line, the term, the notebooks it names)."
    for line in read(ROOT/'nbs'/name).splitlines():
        if line.startswith('- '):
            yield line, re.match(r'- \*\*(.+?)\*\*', line)[1], re.findall(r'\]\((.+?)\)', line)


def text_of(path, kinds=('code', 'markdown')):
    cells = [cell for cell in tutorial.load(path)['cells'] if cell['cell_type'] in kinds]
    return '\n'.join(map(tutorial.source, cells))


def words(text): return re.sub(r'[^a-z]+', ' ', text.lower())


def glossary_faults(entries):
    for _, term, links in entries:
        if not links: yield f'{term}: no notebook defines it'
        for link in links:
            if not (ROOT/'nbs'/link).is_file():
                yield f'{term}: there is no {link}'
                continue
            told = words(text_of(ROOT/'nbs'/link))
            if words(term).rstrip(' s') not in told: yield f'{link} does not speak of {term!r}'


def test_the_glossary_keeps_its_word():
    entries = [*links_of('glossary.md')]
    assert len(entries) > 30 and [*glossary_faults(entries)] == []
    names = [term.lower() for _, term, _ in entries]
    assert names == sorted(names) and len(set(names)) == len(names)


def test_a_glossary_that_does_not():
    entries = [('', 'Schedule', ['00_schedule.ipynb']), ('', 'Quokka', ['view/lint.ipynb']),
               ('', 'Schedule', ['lint.ipynb']), ('', 'Peak', [])]
    assert [*glossary_faults(entries)] == [
        "view/lint.ipynb does not speak of 'Quokka'", 'Schedule: there is no lint.ipynb',
        'Peak: no notebook defines it']


@pytest.mark.slow
def test_the_reference_has_every_public_name():
    import cosine_lr
    docs, pages = load('docs'), []
    for path in tutorial.notebooks(ROOT):
        nb = tutorial.load(path)
        if docs.module_of(nb): pages += docs.reference(nb, path)  # raises where a docstring is missing
    listed = re.findall(r'^## (\w+)$', '\n'.join(pages), re.MULTILINE)
    assert set(cosine_lr.__all__) <= set(listed)


def test_a_public_name_that_says_too_little(monkeypatch):
    import cosine_lr
    docs, path = load('docs'), ROOT/'nbs/03_metric.ipynb'
    nb = tutorial.load(path)
    for cell in nb['cells']:
        if '#| export' in tutorial.source(cell): continue
        cell['source'] = [line.replace('Accuracy', 'A') for line in cell['source']]
    with pytest.raises(ValueError, match='cosine_lr.Accuracy has no example in 03_metric.ipynb'):
        [*docs.reference(nb, path)]
    monkeypatch.setattr(cosine_lr.Accuracy, '__doc__', None)
    with pytest.raises(ValueError, match='Accuracy has no docstring'): [*docs.reference(nb, path)]


DOCUMENTED = '''
from cosine_lr.check import refuse, whole
LIMIT = 99

class Thing:
    "A thing"
    mass: float = 1. # in grams
    def size(self): "How large it is"
    def times(self, n: int) -> float: # `n`: a number
        "Its mass, so many times"

def made(
    rows: int = 64, # in a batch
    *,
    loud=False,
) -> Thing: # a thing of `rows` rows
    "Make a thing"
    if rows < 1: raise ValueError(f"rows must be at least 1, got {rows=}")
    whole('rows', rows, least=1, most=LIMIT)
    whole('others', rows, most=rows)
    whole('starred', rows, *[1])
    if rows == 7: refuse('loud', loud, f'quiet with {rows} rows')
'''


def test_an_entry_of_the_reference(tmp_path, monkeypatch):
    docs = load('docs')
    (tmp_path/'documented.py').write_text(load('explain').explained(DOCUMENTED), encoding='utf-8')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(docs, 'PACKAGE', 'documented')
    from documented import Thing, made
    text = docs.entry(made, 3)
    assert 'def made(\n    rows: int = 64, # in a batch\n    *,\n    loud=False,\n) -> Thing' in text
    for part in ('*Make a thing*', 'Returns a thing of `rows` rows',
                 '- `ValueError`: rows must be at least 1',
                 '- `ValueError`: loud must be quiet with … rows',
                 '- `ValueError`: rows must be a whole number from 1 to 99'):
        assert part in text
    assert not {'others', 'starred'} & {*text.split()}  # known in a run alone
    thing = docs.entry(Thing, 3)
    assert '### Thing.size' in thing and '- `mass`: in grams' in thing
    assert 'def times(\n    n: int, # a number\n) -> float' in thing


def test_methods_of_private_parts_are_in_the_entry_of_the_class_that_is_built_from_them():
    docs = load('docs')
    class _Stored:
        def save(self): "Save it"
    class Shelf(_Stored):
        def add(self): "Add one"
    class Long(Shelf):
        def measure(self): "Measure it"
    assert [name for name, _ in docs.public_methods(Shelf)] == ['save', 'add']
    assert [name for name, _ in docs.public_methods(Long)] == ['measure']
    assert [*docs.public_methods(len)] == []


def test_the_reference_explains_every_parameter():
    import cosine_lr
    docs = load('docs')
    for name in cosine_lr.__all__:
        thing = getattr(cosine_lr, name)
        if not inspect.isclass(thing) and not inspect.isfunction(thing): continue
        text = docs.entry(thing, 3)
        for each in docs.told(thing, 'Args'):
            assert re.search(rf'^ {{4}}\**{each}\b.*, # \S', text, re.MULTILINE), (name, each)


def bodies(text):
    "The code of each function without its docstring."
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef): continue
        start = 1 if ast.get_docstring(node) else 0
        yield '\n'.join(map(ast.unparse, node.body[start:]))


@pytest.mark.parametrize('path', tutorial.notebooks(ROOT), ids=lambda path: path.stem)
def test_an_exercise_version_is_empty_and_can_be_filled(path):
    blank, nb = load('blank'), tutorial.load(path)
    empty = blank.blank(nb)
    for before, after in zip(nb['cells'], empty['cells'], strict=True):
        text = tutorial.source(after)
        if not blank.EXPORTED.search(text): assert text == tutorial.source(before)
        else: assert {*bodies(text)} <= {blank.HINT, '...', ''}
    without = [cell | {'outputs': [], 'execution_count': None} if cell['cell_type'] == 'code' else cell
               for cell in nb['cells']]
    assert blank.filled(empty, nb)['cells'] == without


def test_links_in_a_table_that_a_cell_shows_lead_to_pages():
    docs = load('docs')
    table = shown({'text/markdown': ['| [a](view/lint.ipynb#x) |\n', '| [b](https://x.org) |']})
    page = docs.page_of(notebook(cell('code', 'table', '1', [table])))
    data = page['cells'][0]['outputs'][0]['data']
    assert data['text/markdown'] == '| [a](view/lint.html#x) |\n| [b](https://x.org) |'


def test_a_page_says_how_to_try_its_notebook(tmp_path):
    docs = load('docs')
    for name, up in {'03_metric.ipynb': '', 'view/lint.ipynb': '../'}.items():
        text = docs.source(docs.signpost(tutorial.load(ROOT/'nbs'/name), Path(name)))
        assert text.startswith(f'[Open in Colab]({docs.COLAB}/nbs/{name}) · ')
        for kind in ('filled', 'blank'): assert f'<a href="{up}{kind}/{name}" download>' in text
    shutil.copytree(ROOT/'nbs', tmp_path/'filled', ignore=docs.only_notebooks)
    kept = {path.relative_to(tmp_path/'filled') for path in (tmp_path/'filled').rglob('*.*')}
    assert kept == {path.relative_to(ROOT/'nbs') for path in tutorial.notebooks(ROOT)}


def test_pages_of_nested_notebooks():
    docs = load('docs')
    links = ('[here](lint.ipynb) [up](../00_schedule.ipynb#join) [out](../../compat/test_torch.py) '
             '[far](https://x.org)')
    page = docs.page_of(notebook(cell('markdown', 'links', links)), 'nbs/view')
    assert docs.source(page['cells'][0]) == links.replace('../../compat/test_torch.py',
                                                          f'<{docs.REPOSITORY}/compat/test_torch.py>')
    path = ROOT/'nbs/view/lint.ipynb'
    nb = tutorial.load(path)
    assert docs.reference_page(nb) == 'reference/view/lint'
    assert '](../../view/lint.ipynb)' in next(docs.reference(nb, path))


def test_the_sidebar_has_every_page_once():
    sections, alone = load('docs').sections(ROOT)
    listed = [*alone, *(page for pages in sections.values() for page in pages)]
    texts = [path for path in (ROOT/'nbs').rglob('*.md') if '.ipynb_checkpoints' not in path.parts]
    pages = [path.relative_to(ROOT/'nbs').as_posix() for path in [*tutorial.notebooks(ROOT), *texts]]
    assert sorted(listed) == sorted(pages)
    wings = [{page.rpartition('/')[0] for page in pages} for pages in sections.values()]
    for wing in ('view', 'run', 'lab'): assert [found for found in wings if wing in found] == [{wing}]


def test_links_between_notebooks_lead_somewhere():
    config = tutorial.settings(ROOT)
    colab = 'https://colab.research.google.com/github/{user}/{repo}/blob/{branch}/'.format_map(config)
    for path in [*tutorial.notebooks(ROOT), *(ROOT/'nbs').rglob('*.md')]:
        told = read(path) if path.suffix == '.md' else text_of(path, kinds=('markdown',))
        for link in re.findall(r'\]\(([^)\s]+)\)', told):
            if link.startswith(colab): place = ROOT/link.removeprefix(colab)
            elif re.match(r'[a-z]+:|#', link): continue
            else: place = path.parent/link.partition('#')[0]
            assert place.exists(), f'{path.name}: {link}'


def test_each_notebook_can_be_opened_in_colab():
    index = text_of(ROOT/'nbs/index.ipynb')
    for path in tutorial.notebooks(ROOT):
        if path.stem != 'index': assert f'/{path.relative_to(ROOT).as_posix()})' in index, path.name


def test_binder_installs_what_the_notebooks_need():
    config, lines = tutorial.settings(ROOT), read(ROOT/'.binder/requirements.txt').split('\n')
    extra, = re.findall(r'^-e \.\[(\w+)\]$', '\n'.join(lines), re.MULTILINE)
    constraints, = (line.split()[1] for line in lines if line.startswith('-c'))
    assert f'{extra}_requirements' in config
    assert (ROOT/'.binder'/constraints).resolve() == ROOT/'constraints.txt'
    python = read(ROOT/'.binder/runtime.txt').strip().removeprefix('python-')
    assert f'"{python}"' in read(ROOT/'.github/workflows/test.yaml')  # one that the tests run on
    repo = '/'.join(config['git_url'].rsplit('/')[-2:])
    assert f'https://mybinder.org/v2/gh/{repo}/{config["branch"]}?' in read(ROOT/'README.md')


def test_the_explorer_names_what_it_lacks(monkeypatch):
    from cosine_lr.view import explore
    monkeypatch.setitem(sys.modules, 'ipywidgets', None)
    with pytest.raises(ImportError, match=r"pip install 'cosine_lr\[explore\]'"): explore()


# --- two people edit one cell ---

def git(root, *args):
    who = ['-c', 'user.name=a', '-c', 'user.email=a@b']
    return subprocess.run(['git', *who, *args], cwd=root, capture_output=True, text=True)


def set_up_hooks(root, home):
    "What the Makefile does in a clone, once .venv is there."
    recipe = re.search(r'@(if \[ -d \.git \].*?; fi)$', read(ROOT/'Makefile'), re.MULTILINE | re.DOTALL)[1]
    known = {'\\\n': '', '$(BIN)': Path(sys.executable).parent, '$(CURDIR)/.venv': home, '$$': '$'}
    for old, new in known.items(): recipe = recipe.replace(old, str(new))
    subprocess.run(recipe, shell=True, cwd=root, check=True, capture_output=True)


@pytest.mark.parametrize('hooks', [True, False])
def test_a_conflicting_edit_merges_to_a_notebook_that_opens(repo, tmp_path, hooks):
    import nbformat
    path = repo/PLOT
    shutil.copy(ROOT/'.gitattributes', repo)
    git(repo, 'init', '--initial-branch', 'main')
    if hooks: set_up_hooks(repo, tmp_path)
    def commit(source):
        edit(path, *source)
        assert git(repo, 'commit', '--all', '--message', 'edit').returncode == 0
    git(repo, 'add', '--all')
    assert git(repo, 'commit', '--message', 'first').returncode == 0
    git(repo, 'checkout', '-b', 'mine')
    commit(('return 1', 'return 10'))
    git(repo, 'checkout', 'main')
    commit(('return 1', 'return 20'))
    merged = git(repo, 'merge', 'mine')
    assert merged.returncode == 1, merged
    text = read(path)
    assert 'return 10' in text and 'return 20' in text
    if hooks:
        nbformat.validate(nb := nbformat.reads(text, as_version=4))
        assert any('conflict' in fault for fault in tutorial.not_ready(nb))
    else:
        with pytest.raises(ValueError): json.loads(text)  # what git alone leaves behind


# --- the browser: run by `make browser`, which has what they need ---

def in_browser(test): return pytest.mark.slow(pytest.mark.in_browser(test))


PNG = ('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA'
       'AABJRU5ErkJggg==')
CLEAR = 'import matplotlib.pyplot as plt; plt.figure(facecolor="none"); plt.plot([0, 1]);'
AS_TEXT = 'class IntSlider:\n    def __repr__(self): return "IntSlider(value=0)"\nIntSlider()'


@in_browser
def test_in_browser_notebooks_that_no_reader_should_see(repo, tmp_path):
    planted = {  # a notebook's name: its code, its committed outputs, the fault
        'lab/raises': ('raise ValueError("planted")', [], 'ValueError: planted'),
        'no_figure': ('1', [shown({'image/png': PNG})], '0 figures of 1'),
        'stuck': ('import time; time.sleep(60)', [], 'did not come to an end'),
        'widget_as_text': (AS_TEXT, [], 'a widget shown as text'),
        'transparent': (CLEAR, [], '1 figures are transparent'),
    }
    for name, (code, outputs, _) in planted.items():
        install, found = cell('code', 'default', INSTALL), cell('code', 'planted', code, outputs)
        write_notebook(repo/f'nbs/{name}.ipynb', install, found)
    for path in tutorial.notebooks(repo):  # without a kernel's name in it, JupyterLab asks for one
        write_notebook(path, *tutorial.load(path)['cells'], **KERNEL)
    options = ['--root', repo, '--out', tmp_path/'out', '--timeout', '25']
    done = subprocess.run([sys.executable, ROOT/'tools/browser.py', *options], capture_output=True, text=True)
    lines = dict(re.findall(r': (\w+\.ipynb): (.+) \(\d+ s\)$', done.stdout, re.MULTILINE))
    assert done.returncode == 1, done
    assert lines['plot.ipynb'] == lines['index.ipynb'] == 'ok', lines
    for name, (*_, fault) in planted.items(): assert fault in lines[f'{Path(name).name}.ipynb'], lines
    assert len([*(tmp_path/'out').glob('*.png')]) == 7 + 6  # light and dark; the stuck one ends before


@in_browser
def test_in_browser_pages_that_no_reader_should_see(tmp_path):
    from playwright.sync_api import sync_playwright
    site = load('read_site')
    link = '<a href="other.html#there">there</a>'
    planted = {'other.html#gone': 'no such place', 'missing.html': 'status 404',
               'gone.ipynb': '/gone.ipynb: status 404'}
    wrong = ''.join(f'<a href="{link}">x</a>' for link in planted)
    wrong += '<img src="gone.png"><span class="math">x</span><img src="http://127.0.0.1:9/elsewhere.png">'
    wrong += '<script>throw new Error("planted")</script>'
    for name, text in {'other': '<p id="there">here</p>', 'good': link, 'bad': link + wrong}.items():
        (tmp_path/f'{name}.html').write_text(text, encoding='utf-8')
    address = site.serve(tmp_path)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=site.chromium(), args=site.QUIET)
        good, bad = ([*site.crawl(browser, f'{address}/{name}.html')] for name in ('good', 'bad'))
        browser.close()
    assert [fault for fault in good if 'favicon' not in fault] == []
    for fault in (*planted.values(), 'image not shown', 'formulas are not set', 'asks for http://127.0.0.1:9',
                  'script error: planted'):
        assert any(fault in line for line in bad), bad


@in_browser
def test_in_browser_the_explorer_by_keyboard(tmp_path):
    from playwright.sync_api import sync_playwright
    browse = load('browser')
    code = f'import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom cosine_lr.view import explore\nexplore()'
    write_notebook(tmp_path/'nbs/try.ipynb', cell('code', 'show', code), **KERNEL)
    with sync_playwright() as play, browse.jupyterlab(tmp_path) as (address, token):
        browser = play.chromium.launch(executable_path=browse.chromium(), args=browse.QUIET)
        page = browser.new_page(viewport=dict(width=1280, height=900))
        page.goto(f'{address}/lab/tree/nbs/try.ipynb?token={token}')
        assert browse.run_all(page, 120)
        page.locator('.jupyter-widgets .noUi-handle').first.focus()
        page.keyboard.press('ArrowRight')  # recipe: linear
        for _ in range(8):  # on to the slider of the cycles
            page.keyboard.press('Tab')
            if page.evaluate("document.activeElement.getAttribute('aria-valuemax')") == '8.0': break
        page.keyboard.press('ArrowRight')
        ours = page.locator('.jupyter-widgets textarea').nth(1).element_handle()
        there = "e => e.value.includes('[linear(1, 0.0), linear(1, 0.0)]')"
        page.wait_for_function(there, arg=ours, timeout=20_000)
        browse.stop_kernels(address, token)
        browser.close()
