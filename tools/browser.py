"""Run every notebook in JupyterLab in a real browser, as a reader would, and look at what it shows.

Each notebook is opened, Run All Cells is chosen from the menu, and the notebook is saved. A notebook fails
on an error in an output, on a figure that the committed notebook has and this run does not show, on a widget
shown as text, on an error in the browser's console, and when it does not come to an end. Screenshots of each
notebook's first screen, of its first figure in the dark theme and of each widget go to `--out`. Cells marked
`#| eval: false` do not run.
"""
import argparse
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue

from playwright.sync_api import Error as BrowserError
from playwright.sync_api import TimeoutError as BrowserTimeout
from playwright.sync_api import sync_playwright

from progress import Progress
from tutorial import PACKAGE, ROOT, WIDGET, WIDGET_AS_TEXT, is_evaluated, load, named, notebooks

CHROMIUM = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
         '--disable-background-networking', '--disable-component-update']
SETTINGS = {
    'notebook-extension/tracker': {'windowingMode': 'none'},  # every cell is in the page, seen or not
    'apputils-extension/themes': {'adaptive-theme': True},  # light or dark, as the browser says
    'apputils-extension/notification': {'fetchNews': 'false', 'checkForUpdates': False},
    'docmanager-extension/plugin': {'autosave': False},
}
THEIRS = re.compile(r'WebSocket|favicon|ResizeObserver|api/(kernels|sessions|contents|me)|locale'
                    r'|Failed to load resource|lab/extensions|service-worker')
IMAGES = '.jp-OutputArea-output img'
PROMPTS = '.jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell .jp-InputPrompt'
# Images whose first corner can be seen through.
SEE_THROUGH = '''els => els.filter(e => {
    const c = new OffscreenCanvas(1, 1).getContext("2d");
    c.drawImage(e, 0, 0);
    return c.getImageData(0, 0, 1, 1).data[3] < 255 }).length'''


def chromium():
    for name in CHROMIUM:
        if path := shutil.which(name): return path
    sys.exit(f"No browser: install Chromium (on Debian: apt-get install chromium). "
             f"Looked for {', '.join(CHROMIUM)} on PATH")


# --- a server ---

def copy_for_readers(root, to):
    "The notebooks and what they read, in a folder that may be written to."
    for name in ('nbs', PACKAGE, 'docs'):
        if not (root/name).exists(): continue
        shutil.copytree(root/name, to/name, ignore=shutil.ignore_patterns('__pycache__', '.*'))
    for name in ('settings.ini', 'pyproject.toml'): shutil.copy(root/name, to)
    for path in notebooks(to):
        nb = load(path)
        nb['cells'] = [without_output(cell) for cell in nb['cells']]
        path.write_text(json.dumps(nb), encoding='utf-8')


def without_output(cell):
    "A cell as before its first run; one that is not evaluated becomes raw."
    if cell['cell_type'] != 'code': return cell
    if is_evaluated(cell): return cell | {'outputs': [], 'execution_count': None}
    return {key: cell[key] for key in ('id', 'metadata', 'source')} | {'cell_type': 'raw'}


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def environment(folder, home):
    "JupyterLab with settings of its own."
    for name, values in SETTINGS.items():
        path = home/'settings'/'@jupyterlab'/f'{name}.jupyterlab-settings'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding='utf-8')
    return os.environ | dict(
        PYTHONPATH=str(folder), OMP_NUM_THREADS='1', HOME=str(home),
        JUPYTERLAB_SETTINGS_DIR=f'{home}/settings', JUPYTERLAB_WORKSPACES_DIR=f'{home}/workspaces',
        JUPYTER_CONFIG_DIR=f'{home}/config', JUPYTER_RUNTIME_DIR=f'{home}/runtime')


def answers(server, url):
    "Wait until the server answers; False if it never does."
    for _ in range(120):
        if server.poll() is not None: return False
        try: urllib.request.urlopen(url, timeout=5).close()
        except OSError: time.sleep(.5)
        else: return True
    return False


@contextmanager
def jupyterlab(folder):
    "A server for `folder`; gives its address and its token."
    address, token = f'http://127.0.0.1:{(port := free_port())}', secrets.token_hex(16)
    options = ['--no-browser', '--allow-root', f'--ServerApp.port={port}', '--ServerApp.port_retries=0',
               f'--ServerApp.root_dir={folder}', f'--IdentityProvider.token={token}']
    with tempfile.TemporaryDirectory() as home, open(f'{home}/log', 'w+', encoding='utf-8') as log:
        server = subprocess.Popen([sys.executable, '-m', 'jupyterlab', *options], stdout=log, stderr=log,
                                  env=environment(folder, Path(home)))
        try:
            if not answers(server, f'{address}/api?token={token}'):
                log.seek(0)
                raise OSError(f'JupyterLab did not start:\n{log.read()[-3000:]}')
            yield address, token
        finally:
            server.terminate()
            server.wait(30)


def stop_kernels(address, token):
    def ask(path, method='GET'):
        request = urllib.request.Request(f'{address}/api/sessions{path}', method=method,
                                         headers={'Authorization': f'token {token}'})
        with urllib.request.urlopen(request, timeout=30) as answer: return answer.read()
    for session in json.loads(ask('')): ask(f"/{session['id']}", 'DELETE')


# --- a notebook ---

def run_all(page, timeout):
    "Choose Run All Cells and wait for the end; False if there is none."
    page.wait_for_selector('.jp-Notebook .jp-CodeCell', timeout=60_000)
    page.get_by_text('| Idle').wait_for(timeout=90_000)  # in the status bar: the kernel is connected
    page.get_by_role('menuitem', name='Run', exact=True).click()
    page.get_by_role('menuitem', name='Run All Cells', exact=True).click()
    deadline, calm = time.monotonic() + timeout, 0
    while calm < 3:
        if time.monotonic() > deadline: return False
        time.sleep(.5)
        texts = page.eval_on_selector_all(PROMPTS, 'els => els.map(e => e.textContent)')
        ran, runs = any(re.search(r'\d', text) for text in texts), any('*' in text for text in texts)
        calm = calm + 1 if ran and not runs else 0
    return True


def save(page, path):
    before = path.stat().st_mtime_ns
    page.keyboard.press('Control+s')
    for _ in range(60):
        time.sleep(.25)
        if path.stat().st_mtime_ns == before: continue
        try: return load(path)
        except ValueError: pass  # it is being written
    raise BrowserTimeout('the notebook could not be saved')


def outputs(nb):
    for cell in nb['cells']:
        for output in cell.get('outputs', []): yield cell, output


def figures(nb):
    return sum('image/png' in output.get('data', {}) for cell, output in outputs(nb) if is_evaluated(cell))


def faults_of(nb, committed, page):
    "What a reader should not see."
    for cell, output in outputs(nb):
        if output['output_type'] != 'error': continue
        yield f"cell {cell['id']}: {output['ename']}: {output['evalue']:.200}"
    if (got := figures(nb)) < (want := figures(committed)): yield f'{got} figures of {want}'
    loaded = 'els => els.filter(e => e.complete && e.naturalWidth > 1).length'
    shown = page.eval_on_selector_all(IMAGES, loaded)
    if shown < got: yield f'{shown} of {got} figures are in the page'
    texts = page.eval_on_selector_all('.jp-OutputArea-output', 'els => els.map(e => e.innerText)')
    if match := WIDGET_AS_TEXT.search('\n'.join(texts)): yield f'a widget shown as text: {match[0]}'
    widgets = sum(WIDGET in output.get('data', {}) for _, output in outputs(nb))
    classes = ('.jupyter-widgets', '.widget-inline-hbox')
    drawn = len(page.query_selector_all(', '.join(f'.jp-OutputArea-output {name}' for name in classes)))
    if drawn < widgets: yield f'{drawn} of {widgets} widgets are in the page'


def faults_in_the_dark(page, path, out):
    "Go to the dark theme and look at the first figure; a transparent one would be black on black."
    page.emulate_media(color_scheme='dark')
    page.locator('body[data-jp-theme-light="false"]').wait_for(state='attached')
    page.locator('#jupyterlab-splash').wait_for(state='detached')  # shown while the theme is loaded
    if figure := page.query_selector(IMAGES): figure.scroll_into_view_if_needed()
    page.screenshot(path=out/f'{path.stem}-dark.png')
    clear = page.eval_on_selector_all(IMAGES, SEE_THROUGH)
    if clear: yield f'{clear} figures are transparent: not to be read in the dark theme'


def photograph_widgets(page, out, name):
    widgets = page.query_selector_all('.jp-OutputArea-output .jupyter-widgets:not(.jupyter-widgets *)')
    for i, widget in enumerate(widgets):
        widget.scroll_into_view_if_needed()
        widget.screenshot(path=out/f'{name}-widget{i}.png')


def read(browser, lab, copy, path, out, timeout):
    "Open, run, save and look at the copy of one notebook; its faults."
    address, token = lab
    page = browser.new_page(viewport=dict(width=1280, height=900), color_scheme='light')
    said = []
    page.on('console', lambda m: said.append(m.text) if m.type == 'error' else None)
    page.on('pageerror', lambda e: said.append(str(e)))
    try:
        place = f"nbs/{copy.as_posix().rpartition('/nbs/')[2]}"
        page.goto(f'{address}/lab/workspaces/{path.stem}/tree/{place}?token={token}', timeout=90_000)
        ended = run_all(page, timeout)
        page.locator('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell').first.scroll_into_view_if_needed()
        page.screenshot(path=out/f'{path.stem}.png')
        if not ended: return [f'did not come to an end within {timeout} s']
        photograph_widgets(page, out, path.stem)
        ran = save(page, copy)
        faults = [*faults_of(ran, load(path), page), *faults_in_the_dark(page, path, out)]
        return faults + [f'console: {text:.300}' for text in dict.fromkeys(said) if not THEIRS.search(text)]
    except BrowserError as e: return [f'{type(e).__name__}: {e}'[:500]]
    finally:
        page.close()
        stop_kernels(address, token)


def read_those(waiting, folder, progress, args):
    "A reader with a browser and a server of its own, who takes one notebook after another; {name: faults}."
    found = {}
    with sync_playwright() as play, jupyterlab(folder) as lab:
        browser = play.chromium.launch(executable_path=chromium(), args=QUIET)
        while True:
            try: path = waiting.get_nowait()
            except Empty: break
            progress.begin(path.stem)
            faults = read(browser, lab, folder/path.relative_to(args.root), path, args.out, args.timeout)
            found[path.name] = faults
            progress.end(path.stem, f"{path.name}: {'; '.join(faults) or 'ok'}")
        browser.close()
    return found


def main():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('names', nargs='*', metavar='notebook', help='names without .ipynb (default: all)')
    parser.add_argument('--root', type=Path, default=ROOT, help='the repository')
    parser.add_argument('--out', type=Path, default=ROOT/'results'/'browser',
                        help='where screenshots go (default: results/browser)')
    parser.add_argument('--timeout', type=int, default=600,
                        help='seconds that a notebook may take (default: 600)')
    parser.add_argument('--readers', type=int, default=2, help='notebooks at a time (default: 2)')
    args = parser.parse_args()
    try: paths = named(notebooks(args.root), args.names)
    except ValueError as error: parser.error(str(error))
    args.out.mkdir(parents=True, exist_ok=True)

    waiting = SimpleQueue()
    for path in paths: waiting.put(path)
    with tempfile.TemporaryDirectory() as tmp, Progress(len(paths), 'notebooks', each=True) as progress:
        copy_for_readers(args.root, folder := Path(tmp).resolve())
        with ThreadPoolExecutor(args.readers) as pool:
            readers = [pool.submit(read_those, waiting, folder, progress, args) for _ in range(args.readers)]
    found = {name: faults for reader in readers for name, faults in reader.result().items()}
    failed = sum(map(bool, found.values())) + len(paths) - len(found)
    works = len(paths) - failed
    print(f'{works} notebooks work in the browser, {failed} do not; screenshots are in {args.out}')
    sys.exit(bool(failed or not paths))


if __name__ == '__main__': main()
