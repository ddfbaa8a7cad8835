"""Run every notebook in JupyterLab in a real browser, as a reader would, and look at what it shows.

Each notebook is opened, Run All Cells is chosen from the menu, and the notebook is saved. A notebook fails on an error in an output, on a
figure that the committed notebook has and this run does not show, on a widget shown as text, on an error in the browser's console, and when
it does not come to an end. Screenshots of each notebook's first screen, of its first figure in the dark theme and of each widget go to `--out`. Cells
marked `#| eval: false` do not run.
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
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Error as BrowserError
from playwright.sync_api import TimeoutError as BrowserTimeout
from playwright.sync_api import sync_playwright

from test import PACKAGE, ROOT, WIDGET, WIDGET_AS_TEXT, is_evaluated, notebooks

CHROMIUM = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync']
SETTINGS = {
    'notebook-extension/tracker': {'windowingMode': 'none'},  # every cell is in the page, seen or not
    'apputils-extension/themes': {'adaptive-theme': True},  # light or dark, as the browser says
    'apputils-extension/notification': {'fetchNews': 'false', 'checkForUpdates': False},
    'docmanager-extension/plugin': {'autosave': False},
}
THEIRS = re.compile(r'WebSocket|favicon|ResizeObserver|api/(kernels|sessions|contents|me)|Failed to load resource|lab/extensions|service-worker|locale')


def chromium():
    for name in CHROMIUM:
        if path := shutil.which(name): return path
    sys.exit(f"No browser: install Chromium (on Debian: apt-get install chromium). Looked for {', '.join(CHROMIUM)} on PATH")


def copy_for_readers(root, to):
    "The notebooks and what they read, in a folder that may be written to; cells that are not evaluated become raw."
    for name in ('nbs', PACKAGE, 'docs'):
        if (root/name).exists(): shutil.copytree(root/name, to/name, ignore=shutil.ignore_patterns('__pycache__', '.*'))
    for name in ('settings.ini', 'pyproject.toml'): shutil.copy(root/name, to)
    for path in notebooks(to):
        nb = json.loads(path.read_text(encoding='utf-8'))
        for cell in nb['cells']:
            if cell['cell_type'] == 'code':
                cell['outputs'], cell['execution_count'] = [], None
                if not is_evaluated(cell): nb['cells'][nb['cells'].index(cell)] = {k: cell[k] for k in ('id', 'metadata', 'source')} | {'cell_type': 'raw'}
        path.write_text(json.dumps(nb), encoding='utf-8')


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


@contextmanager
def jupyterlab(folder):
    "A server for `folder` with settings of its own; gives its address and its token."
    with tempfile.TemporaryDirectory() as home:
        for name, values in SETTINGS.items():
            path = Path(home)/'settings'/'@jupyterlab'/f'{name}.jupyterlab-settings'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), encoding='utf-8')
        env = dict(os.environ, PYTHONPATH=str(folder), OMP_NUM_THREADS='1', JUPYTERLAB_SETTINGS_DIR=f'{home}/settings',
                   JUPYTERLAB_WORKSPACES_DIR=f'{home}/workspaces', JUPYTER_CONFIG_DIR=f'{home}/config', JUPYTER_RUNTIME_DIR=f'{home}/runtime', HOME=home)
        port, token = free_port(), secrets.token_hex(16)
        log = open(Path(home)/'log', 'w+', encoding='utf-8')
        server = subprocess.Popen([sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root', f'--ServerApp.port={port}', '--ServerApp.port_retries=0',
                                   f'--IdentityProvider.token={token}', f'--ServerApp.root_dir={folder}'], env=env, stdout=log, stderr=log)
        try:
            address = f'http://127.0.0.1:{port}'
            for _ in range(120):
                try: urllib.request.urlopen(f'{address}/api?token={token}', timeout=5).close(); break
                except OSError: time.sleep(.5)
                if server.poll() is not None: break
            else: server.kill()
            if server.poll() is not None:
                log.seek(0)
                sys.exit(f'JupyterLab did not start:\n{log.read()[-3000:]}')
            yield address, token
        finally:
            server.terminate()
            server.wait(30)
            log.close()


def run_all(page, timeout):
    "Choose Run All Cells and wait for the end; False if there is none."
    page.wait_for_selector('.jp-Notebook .jp-CodeCell', timeout=60_000)
    page.get_by_text('| Idle').wait_for(timeout=90_000)  # in the status bar: the kernel is connected
    page.get_by_role('menuitem', name='Run', exact=True).click()
    page.get_by_role('menuitem', name='Run All Cells', exact=True).click()
    prompts = 'els => els.map(e => e.textContent)'
    deadline, calm = time.monotonic() + timeout, 0
    while calm < 3:
        if time.monotonic() > deadline: return False
        time.sleep(.5)
        texts = page.eval_on_selector_all('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell .jp-InputPrompt', prompts)
        calm = calm + 1 if any(re.search(r'\d', t) for t in texts) and not any('*' in t for t in texts) else 0
    return True


def save(page, path):
    before = path.stat().st_mtime_ns
    page.keyboard.press('Control+s')
    for _ in range(60):
        time.sleep(.25)
        if path.stat().st_mtime_ns == before: continue
        try: return json.loads(path.read_text(encoding='utf-8'))
        except ValueError: pass  # it is being written
    raise BrowserTimeout('the notebook could not be saved')


def outputs(nb):
    for cell in nb['cells']:
        for output in cell.get('outputs', []): yield cell, output


def figures(nb): return sum('image/png' in output.get('data', {}) for cell, output in outputs(nb) if is_evaluated(cell))


def faults_of(nb, committed, page):
    "What a reader should not see."
    for cell, output in outputs(nb):
        if output['output_type'] == 'error': yield f"cell {cell['id']}: {output['ename']}: {output['evalue']:.200}"
    if (got := figures(nb)) < (want := figures(committed)): yield f'{got} figures of {want}'
    shown = page.eval_on_selector_all('.jp-OutputArea-output img', 'els => els.filter(e => e.complete && e.naturalWidth > 1).length')
    if shown < got: yield f'{shown} of {got} figures are in the page'
    text = '\n'.join(page.eval_on_selector_all('.jp-OutputArea-output', 'els => els.map(e => e.innerText)'))
    if match := WIDGET_AS_TEXT.search(text): yield f'a widget shown as text: {match[0]}'
    widgets = sum(WIDGET in output.get('data', {}) for _, output in outputs(nb))
    drawn = len(page.query_selector_all('.jp-OutputArea-output .jupyter-widgets, .jp-OutputArea-output .widget-inline-hbox'))
    if drawn < widgets: yield f'{drawn} of {widgets} widgets are in the page'


def faults_in_the_dark(page, path, out):
    "Go to the dark theme and look at the first figure; a transparent one would be black on black."
    page.emulate_media(color_scheme='dark')
    page.locator('body[data-jp-theme-light="false"]').wait_for(state='attached')
    page.locator('#jupyterlab-splash').wait_for(state='detached')  # shown while the theme is loaded
    if figure := page.query_selector('.jp-OutputArea-output img'): figure.scroll_into_view_if_needed()
    page.screenshot(path=out/f'{path.stem}-dark.png')
    corner = 'e => { const c = new OffscreenCanvas(1, 1).getContext("2d"); c.drawImage(e, 0, 0); return c.getImageData(0, 0, 1, 1).data[3] < 255 }'
    if clear := page.eval_on_selector_all('.jp-OutputArea-output img', f'els => els.filter({corner}).length'): yield f'{clear} figures are transparent: not to be read in the dark theme'


def photograph_widgets(page, out, name):
    for i, widget in enumerate(page.query_selector_all('.jp-OutputArea-output .jupyter-widgets:not(.jupyter-widgets *)')):
        widget.scroll_into_view_if_needed()
        widget.screenshot(path=out/f'{name}-widget{i}.png')


def read(browser, lab, folder, path, out, timeout):
    "Open, run, save and look at one notebook; its faults."
    address, token = lab
    page = browser.new_page(viewport=dict(width=1280, height=900), color_scheme='light')
    said = []
    page.on('console', lambda m: said.append(m.text) if m.type == 'error' else None)
    page.on('pageerror', lambda e: said.append(str(e)))
    try:
        page.goto(f'{address}/lab/workspaces/{path.stem}/tree/nbs/{path.name}?token={token}', timeout=90_000)
        ended = run_all(page, timeout)
        page.evaluate("document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell').scrollIntoView()")  # the first one
        page.screenshot(path=out/f'{path.stem}.png')
        if not ended: return [f'did not come to an end within {timeout} s']
        photograph_widgets(page, out, path.stem)
        ran = save(page, folder/'nbs'/path.name)
        faults = [*faults_of(ran, json.loads(path.read_text(encoding='utf-8')), page), *faults_in_the_dark(page, path, out)]
        return faults + [f'console: {text:.300}' for text in dict.fromkeys(said) if not THEIRS.search(text)]
    except BrowserError as e: return [f'{type(e).__name__}: {e}'[:500]]
    finally:
        page.close()
        stop_kernels(address, token)


def stop_kernels(address, token):
    headers = {'Authorization': f'token {token}'}
    with urllib.request.urlopen(urllib.request.Request(f'{address}/api/sessions', headers=headers), timeout=30) as answer: sessions = json.load(answer)
    for session in sessions: urllib.request.urlopen(urllib.request.Request(f"{address}/api/sessions/{session['id']}", headers=headers, method='DELETE'), timeout=30).close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='notebook', help='names without .ipynb (default: all)')
    parser.add_argument('--root', type=Path, default=ROOT, help='the repository')
    parser.add_argument('--out', type=Path, default=ROOT/'results'/'browser', help='where screenshots go (default: results/browser)')
    parser.add_argument('--timeout', type=int, default=600, help='seconds that a notebook may take (default: 600)')
    args = parser.parse_args()
    paths = [path for path in notebooks(args.root) if not args.names or path.stem in args.names]
    if unknown := set(args.names) - {path.stem for path in paths}: parser.error(f'no notebook is called {sorted(unknown)[0]}')
    args.out.mkdir(parents=True, exist_ok=True)

    failed = 0
    with tempfile.TemporaryDirectory() as tmp, sync_playwright() as play:
        copy_for_readers(args.root, folder := Path(tmp).resolve())
        browser = play.chromium.launch(executable_path=chromium(), args=QUIET)
        with jupyterlab(folder) as lab:
            for path in paths:
                faults = read(browser, lab, folder, path, args.out, args.timeout)
                failed += bool(faults)
                print(f"{path.name}: {'; '.join(faults) or 'ok'}", flush=True)
        browser.close()
    print(f'{len(paths) - failed} notebooks work in the browser, {failed} do not; screenshots are in {args.out}')
    sys.exit(bool(failed or not paths))


if __name__ == '__main__': main()
