"""The checks of tools/ can fail: each is shown a small repository with one thing wrong."""
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tools'))


def load(name):
    spec = importlib.util.spec_from_file_location(f'tools_{name}', ROOT/f'tools/{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


checks, readme = load('test'), load('readme')


def cell(kind, id, source, outputs=()):
    lines = source.splitlines(True)
    if kind == 'markdown': return {'cell_type': kind, 'id': id, 'metadata': {}, 'source': lines}
    return {'cell_type': kind, 'execution_count': None, 'id': id, 'metadata': {}, 'outputs': list(outputs), 'source': lines}


INSTALL = 'try: import cosine_lr\nexcept ImportError:\n    %pip install cosine_lr'


def printed(text): return {'name': 'stdout', 'output_type': 'stream', 'text': text.splitlines(True)}


def write_notebook(path, *cells):
    nb = {'cells': cells, 'metadata': {}, 'nbformat': 4, 'nbformat_minor': 5}
    path.write_text(json.dumps(nb, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


@pytest.fixture(scope='module')
def sound(tmp_path_factory):
    "A repository of two notebooks that passes every check."
    root = tmp_path_factory.mktemp('sound')
    for name in ('settings.ini', 'pyproject.toml'): shutil.copy(ROOT/name, root)
    for name in ('nbs', 'cosine_lr', 'tests'): (root/name).mkdir()
    (root/'cosine_lr/__init__.py').write_text('__version__ = "0.1.0"\n', encoding='utf-8')
    (root/'tests/test_nothing.py').write_text('def test_nothing(): pass\n', encoding='utf-8')
    write_notebook(root/'nbs/00_plot.ipynb',
                   cell('code', 'default-exp', '#| default_exp plot\n' + INSTALL),
                   cell('markdown', 'title', '# What is drawn?\n> A number'),
                   cell('code', 'one', '#| export\ndef one():\n    "The number."\n    return 1'),
                   cell('code', 'show', 'print(one())', [printed('1\n')]))
    write_notebook(root/'nbs/index.ipynb',
                   cell('code', 'install', '#| hide\n' + INSTALL),
                   cell('markdown', 'title', '# Small\n\n[Plot](00_plot.ipynb)\n\n    2 passed, 0 failed'),
                   cell('code', 'show', 'print(1)', [printed('1\n')]))
    subprocess.run([Path(sys.executable).parent/'nbdev_export'], cwd=root, check=True)
    readme.write(root)
    return root


@pytest.fixture
def repo(sound, tmp_path):
    return shutil.copytree(sound, tmp_path/'repo')


def edit(path, old, new):
    text = path.read_text(encoding='utf-8')
    assert old in text
    path.write_text(text.replace(old, new), encoding='utf-8')


def run(root, *names):
    done = subprocess.run([sys.executable, ROOT/'tools/test.py', '--root', root, *names], capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines()[-1], done.stdout


def test_a_sound_repository_passes(repo):
    status, last, _ = run(repo)
    assert (status, last) == (0, '2 passed, 0 failed')


def test_settings_agree_with_the_version_in_the_package():
    version = re.search(r'^version = (.*)$', (ROOT/'settings.ini').read_text(encoding='utf-8'), re.MULTILINE)[1]
    assert f'__version__ = "{version}"' in (ROOT/'cosine_lr/__init__.py').read_text(encoding='utf-8')
    assert f'version: {version}' in (ROOT/'CITATION.cff').read_text(encoding='utf-8')


@pytest.mark.parametrize('old, new, fault', [
    ('"execution_count": null', '"execution_count": 3', 'not clean'),
    ('"output_type": "stream"', '"output_type": "error"', 'ended in an error'),
    ('# What is drawn?', '# ' + 'x'*400_000, 'KB, over 400'),
    ('%pip install', 'pass #', 'does not install cosine_lr'),
])
def test_unclean_notebooks(repo, old, new, fault):
    edit(repo/'nbs/00_plot.ipynb', old, new)
    assert any(fault in line for line in checks.clean(repo))


def test_a_notebook_that_was_not_executed(repo):
    write_notebook(repo/'nbs/00_plot.ipynb', cell('code', 'install', INSTALL), cell('code', 'show', 'print(1)'))
    assert checks.clean(repo) == ['00_plot.ipynb: no cell has an output: commit it executed',
                                  '00_plot.ipynb: cell show prints, but has no output']


def test_modules_out_of_step(repo):
    edit(repo/'cosine_lr/plot.py', 'return 1', 'return 2')
    (repo/'cosine_lr/stray.py').touch()
    assert [line.split(':')[0] for line in checks.export(repo)] == ['cosine_lr/stray.py', 'cosine_lr/plot.py']


def test_an_export_that_nbdev_would_skip_in_silence(repo, monkeypatch):
    monkeypatch.setenv('IN_TEST', '1')
    edit(repo/'cosine_lr/plot.py', 'return 1', 'return 2')
    assert len(checks.export(repo)) == 1


def test_an_undefined_name(repo):
    edit(repo/'cosine_lr/plot.py', 'return 1', 'return missing')
    assert any('undefined name' in line for line in checks.names(repo))


@pytest.mark.parametrize('source', [
    'from .schedule import cosine', 'from . import schedule', 'import cosine_lr.schedule', 'from cosine_lr import schedule',
    'from cosine_lr.schedule import cosine', 'def f():\n    from .schedule import cosine',
])
def test_a_forbidden_arrow(repo, source):
    (repo/'cosine_lr/schedule.py').touch()
    (repo/'cosine_lr/plot.py').write_text(source, encoding='utf-8')
    assert [line.split(': ')[1] for line in checks.arrows(repo)] == ['plot may not import schedule']


def test_arrows_to_and_from_the_unknown(repo):
    (repo/'cosine_lr/stray.py').touch()
    (repo/'cosine_lr/plot.py').write_text('from . import one\nfrom .gone import two', encoding='utf-8')
    assert len(checks.arrows(repo)) == 3


def test_a_readme_out_of_date(repo):
    edit(repo/'nbs/index.ipynb', '# Small', '# Smaller')
    assert checks.readme_in_step(repo) == ["README.md, line 3: has '# Small', the notebook gives '# Smaller'"]


@pytest.mark.parametrize('quote', ['3 passed, 0 failed', '2 passed, 1 failed', 'nothing'])
def test_a_readme_that_quotes_another_count(repo, quote):
    edit(repo/'nbs/index.ipynb', '2 passed, 0 failed', quote)
    readme.write(repo)
    assert len(checks.readme_in_step(repo)) == 1


def test_notebooks_that_fail_or_do_not_run(repo):
    write_notebook(repo/'nbs/01_fails.ipynb', cell('code', 'fails', 'assert False'))
    write_notebook(repo/'nbs/02_skipped.ipynb', cell('markdown', 'title', '# Skipped\n\n- skip_exec: true'),
                   cell('code', 'ok', 'print(1)'))
    write_notebook(repo/'nbs/03_unevaluated.ipynb', cell('code', 'off', '#| eval: false\nprint(1)'),
                   cell('code', 'flagged', '#| notest\nprint(1)'))
    status, last, out = run(repo, 'notebooks')
    assert (status, last) == (1, '2 passed, 3 failed')
    for reason in ('01_fails.ipynb: a cell failed', '02_skipped.ipynb: did not run', '03_unevaluated.ipynb: has no cell'):
        assert reason in out


def test_a_failed_check_alone_fails_the_run(repo):
    (repo/'cosine_lr/stray.py').touch()
    status, last, out = run(repo, 'arrows', 'notebooks')
    assert (status, last) == (1, '2 passed, 0 failed')
    assert out.splitlines()[-2] == 'Failed, besides any notebook: arrows'


def test_a_failing_pytest(repo):
    (repo/'tests/test_nothing.py').write_text('def test_nothing(): assert False\n', encoding='utf-8')
    assert checks.pytests(repo) == ['pytest failed']


def test_a_missing_tool_is_a_failure(repo, monkeypatch):
    monkeypatch.setattr(checks.sys, 'executable', str(repo/'bin/python'))
    for check in (checks.clean, checks.export, checks.names, checks.pytests):
        assert checks.attempt(check, repo)[0].startswith('FileNotFoundError')
    with pytest.raises(FileNotFoundError): checks.run_notebooks(repo, workers=1)


def test_a_readme_has_figures_links_and_no_hidden_cells(repo):
    png = 'iVBORw0KGgo='
    write_notebook(repo/'nbs/index.ipynb',
                   cell('markdown', 'title', '# Small\n\n[Plot](00_plot.ipynb) [rules](../CONTRIBUTING.md) [site](https://example.org)'),
                   cell('code', 'secret', '#| hide\nsecret = 1'),
                   cell('code', 'loss-curve', '#| echo: false\n#| fig-alt: The loss\ndraw()',
                        [{'output_type': 'display_data', 'metadata': {}, 'data': {'image/png': png}}]))
    readme.write(repo)
    text = (repo/'README.md').read_text(encoding='utf-8')
    assert '[Plot](nbs/00_plot.ipynb) [rules](CONTRIBUTING.md) [site](https://example.org)' in text
    assert '![The loss](docs/readme/loss-curve.png)' in text
    assert 'secret' not in text and 'draw' not in text and '#|' not in text
    (repo/'docs/readme/loss-curve.png').write_bytes(b'')
    assert readme.faults(repo) == ['docs/readme/loss-curve.png is missing or differs from the notebook']
