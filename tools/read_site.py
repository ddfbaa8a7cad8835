"""Read the site that tools/docs.py built, in a real browser: pages, links, images, formulas and search.

Nothing may be fetched from elsewhere.
"""
import argparse
import re
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urldefrag, urlsplit
from urllib.request import Request, urlopen

from playwright.sync_api import sync_playwright

import cosine_lr
from browser import QUIET, chromium
from tutorial import PACKAGE, ROOT

SEEN_AT_LEAST = ('index', '00_schedule', '09_trial', 'view/explorer', 'glossary', 'reference/schedule',
                 'play/index')
NOT_SHOWN = 'els => els.filter(e => !(e.complete && e.naturalWidth)).map(e => e.src)'
ANSWERED = "/finished|did not match|found/.test(document.querySelector('.search-summary')?.innerText ?? '')"


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *args): pass


def serve(folder):
    "A server for a folder, on a free port; its address."
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Silent, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f'http://127.0.0.1:{server.server_port}'


def look(page, url):
    "Open one page; its faults, its links and the anchors it has."
    faults = []
    ours = 'data:', 'blob:', f'http://{urlsplit(url).netloc}/'
    page.on('response', lambda r: faults.append(f'{r.url}: status {r.status}') if r.status >= 400 else None)
    page.on('request', lambda r: faults.append(f'asks for {r.url}') if not r.url.startswith(ours) else None)
    page.on('pageerror', lambda e: faults.append(f'script error: {e}'))
    page.goto(url, wait_until='networkidle')
    faults += [f'image not shown: {image}' for image in page.eval_on_selector_all('img', NOT_SHOWN)]
    formulas, set_ = (len(page.query_selector_all(s)) for s in ('.math', '.math mjx-container'))
    if set_ < formulas: faults.append(f'{formulas - set_} of {formulas} formulas are not set')
    links = page.eval_on_selector_all('a[href]', 'els => els.map(e => e.href)')
    anchors = set(page.eval_on_selector_all('[id]', 'els => els.map(e => e.id)'))
    return faults, links, anchors


def crawl(browser, start):
    "Follow every link from `start`; faults of each page, and links that lead nowhere."
    here, seen, waiting, links = start.rsplit('/', 1)[0], {}, [start], []
    while waiting:
        url = waiting.pop()
        if url in seen: continue
        page = browser.new_page()
        faults, found, seen[url] = look(page, url)
        page.close()
        yield from (f'{url.removeprefix(here)}: {fault}' for fault in faults)
        found = [link for link in found if link.startswith(here)]
        links += [(url, link) for link in found]
        waiting += [bare for link in found if (bare := urldefrag(link).url).endswith('.html')]
    files = {bare: url for url, link in links if (bare := urldefrag(link).url) not in seen}
    for file, url in files.items():
        if fault := not_served(file): yield f'{url.removeprefix(here)}: {file.removeprefix(here)}: {fault}'
    for url, link in links:
        bare, anchor = urldefrag(link)
        if bare in seen and anchor and anchor not in seen[bare]:
            yield f'{url.removeprefix(here)}: no such place: {link.removeprefix(here)}'
    print(f'{len(seen)} pages, {len(links)} links between them, {len(files)} files to download')


def not_served(url):
    "Why a file that a page offers cannot be had, if so."
    try: urlopen(Request(url, method='HEAD')).close()
    except HTTPError as error: return f'status {error.code}'


def found_by(browser, start, words):
    "Pages that the search box gives for `words`."
    page = browser.new_page()
    page.goto(start)
    page.locator('.sidebar-search').fill(words)
    page.keyboard.press('Enter')
    page.locator('#search-results p.search-summary').wait_for()
    page.wait_for_function(ANSWERED)
    links = page.eval_on_selector_all('#search-results li a', 'els => els.map(e => e.getAttribute("href"))')
    page.close()
    return links


def not_found(browser, start):
    "Public names, each with the page of its module, and words of the glossary that the search does not find."
    for name in cosine_lr.__all__:
        module = getattr(cosine_lr, name).__module__.removeprefix(f'{PACKAGE}.')
        home = f"reference/{module.replace('.', '/')}"
        links = found_by(browser, start, name)
        if not any(home in link for link in links): yield f'a search for {name!r} does not find {home}'
    glossary = (ROOT/'nbs/glossary.md').read_text(encoding='utf-8')
    words = re.findall(r'^- \*\*(.+?)\*\*', glossary, re.MULTILINE)
    for word in words:
        if not found_by(browser, start, word): yield f'a search for {word!r} finds nothing'
    if found_by(browser, start, 'xyzzyplugh'): yield 'a search for nonsense finds something'
    print(f'{len(cosine_lr.__all__)} names and {len(words)} words of the glossary were searched for')


def photograph(browser, address, out):
    "Some pages, in the light theme and in the dark one."
    for theme in ('light', 'dark'):
        for name in SEEN_AT_LEAST:
            page = browser.new_page(color_scheme=theme, viewport=dict(width=1280, height=900))
            page.goto(f'{address}/{name}.html', wait_until='networkidle')
            figure = page.query_selector('.cell_output img')
            if theme == 'dark' and figure: figure.scroll_into_view_if_needed()
            page.screenshot(path=out/f"{name.replace('/', '-')}-{theme}.png")
            page.close()


def main():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('--site', type=Path, default=ROOT/'_docs', help='the site (default: _docs)')
    parser.add_argument('--out', type=Path, default=ROOT/'results'/'site',
                        help='where screenshots go (default: results/site)')
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    address = serve(args.site)
    start = f'{address}/index.html'
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=QUIET)
        faults = [*crawl(browser, start)]
        faults += not_found(browser, start)
        photograph(browser, address, args.out)
        browser.close()
    print(*faults, sep='\n')
    print(f"The site {'has faults' if faults else 'works'}; screenshots are in {args.out}")
    sys.exit(bool(faults))


if __name__ == '__main__': main()
