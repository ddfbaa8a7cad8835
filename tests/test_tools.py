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
    edit(repo/'cosine_lr/view/plot.py', 'return 1', 'return 2')
    (repo/'cosine_lr/stray.py').touch()
    assert [line.split(':')[0] for line in checks.export(repo)] == ['cosine_lr/stray.py', 'cosine_lr/view/plot.py']


def test_an_export_that_nbdev_would_skip_in_silence(repo, monkeypatch):
    monkeypatch.setenv('IN_TEST', '1')
    edit(repo/'cosine_lr/view/plot.py', 'return 1', 'return 2')
    assert len(checks.export(repo)) == 1


def test_an_undefined_name(repo):
    edit(repo/'cosine_lr/view/plot.py', 'return 1', 'return missing')
    assert any('undefined name' in line for line in checks.names(repo))


@pytest.mark.parametrize('source', [
    'from .schedule import cosine', 'from . import schedule', 'import cosine_lr.schedule', 'from cosine_lr import schedule',
    'from cosine_lr.schedule import cosine', 'def f():\n    from .schedule import cosine',
])
def test_a_forbidden_arrow(repo, source):
    (repo/'cosine_lr/schedule.py').touch()
    (repo/'cosine_lr/view/plot.py').write_text(source, encoding='utf-8')
    assert [line.split(': ')[1] for line in checks.arrows(repo)] == ['plot may not import schedule']


def test_arrows_to_and_from_the_unknown(repo):
    (repo/'cosine_lr/stray.py').touch()
    (repo/'cosine_lr/view/plot.py').write_text('from . import one\nfrom .gone import two', encoding='utf-8')
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


def test_kernels_run_on_one_thread(repo, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '4')
    execute, path = load('execute'), repo/'nbs/00_plot.ipynb'
    write_notebook(path, cell('code', 'count', 'import os\nprint(os.environ["OMP_NUM_THREADS"])'))
    assert execute.shown(execute.run(path).cells[0]) == [('stdout', '1\n')]


def test_prints_that_follow_each_other_are_one_output(repo):
    execute, path = load('execute'), repo/'nbs/00_plot.ipynb'
    write_notebook(path, cell('code', 'pieces', 'from IPython.display import display\nfor i in range(3): print(i, flush=True)\ndisplay(3)\nprint(4)'))
    assert [output.get('text') for output in execute.run(path).cells[0].outputs] == ['0\n1\n2\n', None, '4\n']


def test_outputs_that_are_not_the_committed_ones(repo):
    import nbformat
    execute, path = load('execute'), repo/'nbs/00_plot.ipynb'
    read = lambda: nbformat.read(path, as_version=4)
    assert [*execute.differences(execute.run(path), read())] == []
    edit(path, '"1\\n"', '"2\\n"')
    assert [*execute.differences(execute.run(path), read())] == ['cell show: stdout']
    figure = lambda png: [printed('1\n'), {'output_type': 'display_data', 'metadata': {}, 'data': {'image/png': png}}]
    shown = lambda outputs: nbformat.reads(json.dumps({'cells': [cell('code', 'show', 'draw()', outputs)], 'metadata': {}, 'nbformat': 4, 'nbformat_minor': 5}), as_version=4)
    assert [*execute.differences(shown(figure('a')), shown(figure('b')))] == ['cell show: image/png']
    assert [*execute.differences(shown([printed('1\n'), printed('<f at 0x7f>\n')]), shown([printed('1\n<f at 0x80>\n')]))] == []


# --- what the documentation promises ---

def links_of(name):
    "Each entry of a glossary: (term, notebook it names)."
    text = (ROOT/'nbs'/name).read_text(encoding='utf-8')
    return [(line, re.match(r'- \*\*(.+?)\*\*', line)[1], re.findall(r'\]\((.+?)\)', line)) for line in text.splitlines() if line.startswith('- ')]


def glossary_faults(entries):
    for line, term, links in entries:
        for link in links:
            if not (ROOT/'nbs'/link).is_file(): yield f'{term}: there is no {link}'; continue
            told = ' '.join(''.join(cell['source']) for cell in json.loads((ROOT/'nbs'/link).read_text(encoding='utf-8'))['cells'])
            if re.sub(r"[^a-z]+", ' ', term.lower()).rstrip(' s') not in re.sub(r'[^a-z]+', ' ', told.lower()): yield f'{link} does not speak of {term!r}'
        if not links: yield f'{term}: no notebook defines it'


def test_the_glossary_keeps_its_word():
    entries = links_of('glossary.md')
    assert len(entries) > 30 and [*glossary_faults(entries)] == []
    names = [term.lower() for _, term, _ in entries]
    assert names == sorted(names) and len(set(names)) == len(names)


def test_a_glossary_that_does_not():
    assert [*glossary_faults([('', 'Schedule', ['00_schedule.ipynb']), ('', 'Quokka', ['00_schedule.ipynb']), ('', 'Schedule', ['gone.ipynb']), ('', 'Peak', [])])] == [
        "00_schedule.ipynb does not speak of 'Quokka'", 'Schedule: there is no gone.ipynb', 'Peak: no notebook defines it']


def test_the_reference_has_every_public_name():
    import cosine_lr
    docs, pages = load('docs'), []
    for path in checks.notebooks(ROOT):
        nb = json.loads(path.read_text(encoding='utf-8'))
        if docs.module_of(nb): pages += docs.reference(nb, path)  # raises where a docstring or an example is missing
    listed = re.findall(r'^## (\w+)$', '\n'.join(pages), re.MULTILINE)
    assert set(cosine_lr.__all__) <= set(listed)


def test_a_public_name_that_says_too_little(monkeypatch):
    import cosine_lr
    docs, path = load('docs'), ROOT/'nbs/03_metric.ipynb'
    nb = json.loads(path.read_text(encoding='utf-8'))
    told = docs.entry(cosine_lr.digits_dls, 3) + docs.entry(cosine_lr.tensor_loader, 3)
    for part in ('bs=64, # rows in a batch of the training set', 'Returns `DataLoaders` of batches [x, y]', '- `ValueError`: bs must be a whole number of rows, at least 1'): assert part in told
    for cell in nb['cells']:
        if '#| export' not in ''.join(cell['source']): cell['source'] = [line.replace('Accuracy', 'A') for line in cell['source']]
    with pytest.raises(ValueError, match='cosine_lr.Accuracy has no example in 03_metric.ipynb'): [*docs.reference(nb, path)]
    monkeypatch.setattr(cosine_lr.Accuracy, '__doc__', None)
    with pytest.raises(ValueError, match='Accuracy has no docstring'): [*docs.reference(nb, path)]


def test_the_sidebar_has_every_page_once():
    listed = re.findall(r'^ +- (\S+\.(?:ipynb|md))$', (ROOT/'nbs/sidebar.yml').read_text(encoding='utf-8'), re.MULTILINE)
    pages = [path.relative_to(ROOT/'nbs').as_posix() for kind in ('*.ipynb', '*.md') for path in (ROOT/'nbs').rglob(kind)]
    assert sorted(listed) == sorted(page for page in pages if '.ipynb_checkpoints' not in page)


def test_binder_installs_what_the_notebooks_need():
    from configparser import ConfigParser
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    lines = (ROOT/'.binder/requirements.txt').read_text(encoding='utf-8').split('\n')
    extra, = re.findall(r'^-e \.\[(\w+)\]$', '\n'.join(lines), re.MULTILINE)
    constraints, = (line.split()[1] for line in lines if line.startswith('-c'))
    assert f'{extra}_requirements' in config['DEFAULT'] and (ROOT/'.binder'/constraints).resolve() == ROOT/'constraints.txt'
    python = (ROOT/'.binder/runtime.txt').read_text(encoding='utf-8').strip().removeprefix('python-')
    assert f'"{python}"' in (ROOT/'.github/workflows/test.yaml').read_text(encoding='utf-8')  # one that the tests run on
    repo = '/'.join(config['DEFAULT']['git_url'].rsplit('/')[-2:])
    assert f'https://mybinder.org/v2/gh/{repo}/{config["DEFAULT"]["branch"]}?' in (ROOT/'README.md').read_text(encoding='utf-8')


def test_a_widget_in_a_committed_notebook(repo):
    shown = {'text/plain': 'IntSlider(value=0)', checks.WIDGET: {'model_id': '0'}}
    for data in (shown, {'text/plain': 'VBox(children=())'}):
        write_notebook(repo/'nbs/00_plot.ipynb', cell('code', 'install', INSTALL),
                       cell('code', 'show', 'slider', [{'output_type': 'display_data', 'metadata': {}, 'data': data}]))
        assert ['holds a widget' in fault for fault in checks.not_ready(json.loads((repo/'nbs/00_plot.ipynb').read_text(encoding='utf-8')))] == [True]


def test_the_explorer_names_what_it_lacks(monkeypatch):
    from cosine_lr.view import explore
    monkeypatch.setitem(sys.modules, 'ipywidgets', None)
    with pytest.raises(ImportError, match=r"pip install 'cosine_lr\[explore\]'"): explore()


# --- two people edit one cell ---

def git(root, *args): return subprocess.run(['git', '-c', 'user.name=a', '-c', 'user.email=a@b', *args], cwd=root, capture_output=True, text=True)


def set_up_hooks(root, home):
    "What the Makefile does in a clone, once .venv is there."
    makefile = (ROOT/'Makefile').read_text(encoding='utf-8')
    recipe = re.search(r'@(if \[ -d \.git \].*?; fi)$', makefile, re.MULTILINE | re.DOTALL)[1].replace('\\\n', '')
    for old, new in (('$(BIN)', str(Path(sys.executable).parent)), ('$(CURDIR)/.venv', str(home)), ('$$', '$')): recipe = recipe.replace(old, new)
    subprocess.run(recipe, shell=True, cwd=root, check=True, capture_output=True)


@pytest.mark.parametrize('hooks', [True, False])
def test_a_conflicting_edit_merges_to_a_notebook_that_opens(repo, tmp_path, hooks):
    import nbformat
    path = repo/'nbs/00_plot.ipynb'
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
    text = path.read_text(encoding='utf-8')
    assert 'return 10' in text and 'return 20' in text
    if hooks: nbformat.validate(nbformat.reads(text, as_version=4))
    else:
        with pytest.raises(ValueError): json.loads(text)  # what git alone leaves behind


# --- the browser: run by `make browser`, which has what they need ---

def in_browser(test):
    missing = [name for name in ('playwright', 'jupyterlab') if importlib.util.find_spec(name) is None]
    if not any(map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'))): missing.append('Chromium')
    return pytest.mark.slow(pytest.mark.skipif(bool(missing), reason=f"no {' and no '.join(missing)}: `make browser` runs this test")(test))


def name_kernel(folder):
    "Without a kernel's name in a notebook, JupyterLab asks for one."
    for path in folder.glob('*.ipynb'): edit(path, '"metadata": {},\n "nbformat"', '"metadata": {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}},\n "nbformat"')


PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='


@in_browser
def test_in_browser_notebooks_that_no_reader_should_see(repo, tmp_path):
    drawn = [{'output_type': 'display_data', 'metadata': {}, 'data': {'image/png': PNG}}]
    planted = {
        '01_raises': ('raise ValueError("planted")', ()),
        '02_no_figure': ('1', drawn),
        '03_stuck': ('import time; time.sleep(60)', ()),
        '05_transparent': ('import matplotlib.pyplot as plt; plt.figure(facecolor="none"); plt.plot([0, 1]);', ()),
        '04_widget_as_text': ('class IntSlider:\n    def __repr__(self): return "IntSlider(value=0)"\nIntSlider()', ()),
    }
    for name, (source, outputs) in planted.items(): write_notebook(repo/f'nbs/{name}.ipynb', cell('code', 'default', INSTALL), cell('code', 'planted', source, outputs))
    name_kernel(repo/'nbs')
    done = subprocess.run([sys.executable, ROOT/'tools/browser.py', '--root', repo, '--out', tmp_path/'out', '--timeout', '25'], capture_output=True, text=True)
    lines = dict(line.split(': ', 1) for line in done.stdout.splitlines() if '.ipynb: ' in line)
    assert done.returncode == 1, done
    assert lines['00_plot.ipynb'] == lines['index.ipynb'] == 'ok'
    for name, fault in {'01_raises': 'ValueError: planted', '02_no_figure': '0 figures of 1', '03_stuck': 'did not come to an end', '04_widget_as_text': 'a widget shown as text', '05_transparent': '1 figures are transparent'}.items():
        assert fault in lines[f'{name}.ipynb'], lines
    assert len([*(tmp_path/'out').glob('*.png')]) == 7 + 6  # light and dark; the stuck one ends before


@in_browser
def test_in_browser_pages_that_no_reader_should_see(tmp_path):
    from functools import partial
    from http.server import ThreadingHTTPServer
    from threading import Thread
    from playwright.sync_api import sync_playwright
    site = load('site')
    good = '<a href="other.html#there">there</a>'
    planted = {'other.html#gone': 'no such place', 'missing.html': 'status 404'}
    (tmp_path/'other.html').write_text('<p id="there">here</p>', encoding='utf-8')
    (tmp_path/'good.html').write_text(good, encoding='utf-8')
    (tmp_path/'bad.html').write_text(good + ''.join(f'<a href="{link}">x</a>' for link in planted) + '<img src="gone.png"><span class="math">x</span>'
                                     '<img src="http://127.0.0.1:9/elsewhere.png"><script>throw new Error("planted")</script>', encoding='utf-8')
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(site.Silent, directory=tmp_path))
    Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=site.chromium(), args=site.QUIET)
        good, bad = ('\n'.join(fault for fault in site.crawl(browser, f'http://127.0.0.1:{server.server_port}/{name}.html') if 'favicon' not in fault) for name in ('good', 'bad'))
        browser.close()
    server.shutdown()
    assert good == ''
    for fault in (*planted.values(), 'image not shown', 'formulas are not set', 'asks for http://127.0.0.1:9', 'script error: planted'): assert fault in bad, bad


@in_browser
def test_in_browser_the_explorer_by_keyboard(tmp_path):
    from playwright.sync_api import sync_playwright
    browse = load('browser')
    (tmp_path/'nbs').mkdir()
    write_notebook(tmp_path/'nbs/try.ipynb', cell('code', 'show', f'import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom cosine_lr import explore\nexplore()'))
    name_kernel(tmp_path/'nbs')
    with sync_playwright() as play, browse.jupyterlab(tmp_path) as (address, token):
        browser = play.chromium.launch(executable_path=browse.chromium(), args=browse.QUIET)
        page = browser.new_page(viewport=dict(width=1280, height=900))
        page.goto(f'{address}/lab/tree/nbs/try.ipynb?token={token}')
        assert browse.run_all(page, 120)
        page.locator('.jupyter-widgets .noUi-handle').first.focus()
        page.keyboard.press('ArrowRight')                            # recipe: linear
        for _ in range(8):                                           # on to the slider of the cycles
            page.keyboard.press('Tab')
            if page.evaluate("document.activeElement.getAttribute('aria-valuemax')") == '8.0': break
        page.keyboard.press('ArrowRight')
        ours = page.locator('.jupyter-widgets textarea').nth(1)
        page.wait_for_function("e => e.value.includes('[linear(1, 0.0), linear(1, 0.0)]')", arg=ours.element_handle(), timeout=20_000)
        browse.stop_kernels(address, token)
        browser.close()
