"""Build README.md from nbs/index.ipynb, its figures in docs/readme/; with --check, only compare."""
import argparse
import base64
import posixpath
import re
import sys
from itertools import zip_longest
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent
NOTICE = ('<!-- Made from nbs/index.ipynb by tools/readme.py: edit the notebook, then run `make prepare`. -->'
          '\n\n')
FIGURES = 'docs/readme'
EXTENSIONS = {'image/svg+xml': 'svg', 'image/png': 'png', 'image/jpeg': 'jpg'}
DIRECTIVE = re.compile(r'#\s*\|\s*([\w-]+)\s*:?\s*(.*)')
RELATIVE_LINK = re.compile(r'(\]\()(?![a-z]+:|[#/])([^)\s]+)')
FENCED = re.compile(r'(^```.*?^```$)', re.MULTILINE | re.DOTALL)


def split_directives(source):
    "The `#|` lines that open a cell, {name: value}, and the rest of its source."
    told, lines = {}, source.splitlines()
    while lines and (match := DIRECTIVE.match(lines[0])):
        told[match[1]] = match[2].strip().lower() if match[1] != 'fig-alt' else match[2].strip()
        lines.pop(0)
    return told, '\n'.join(lines).strip('\n')


def from_root(markdown):
    "Relative links of a notebook in nbs/, as seen from the repository's root."
    return RELATIVE_LINK.sub(lambda m: m[1] + posixpath.normpath(posixpath.join('nbs', m[2])), markdown)


def lift_figures(cell, alt):
    "Replace the cell's images by links; return the images, {path: bytes}."
    figures = {}
    for output in cell.outputs:
        data = output.get('data', {})
        kind = next((kind for kind in EXTENSIONS if kind in data), None)
        if kind is None: continue
        number = f'-{len(figures) + 1}' if figures else ''
        path = f'{FIGURES}/{cell.id}{number}.{EXTENSIONS[kind]}'
        figures[path] = data[kind].encode() if EXTENSIONS[kind] == 'svg' else base64.b64decode(data[kind])
        output['data'] = {'text/markdown': f'![{alt}]({path})'}
    return figures


def build(notebook):
    "The README's text, and its figures, {path: bytes}."
    nb = nbformat.read(notebook, as_version=4)
    nb.metadata['language_info'] = {'name': 'python'}
    shown, figures = [], {}
    for cell in nb.cells:
        told, cell.source = split_directives(cell.source)
        if cell.cell_type == 'raw' or 'hide' in told or told.get('include') == 'false': continue
        if cell.cell_type == 'markdown': cell.source = from_root(cell.source)
        if cell.cell_type == 'code':
            if told.get('echo') == 'false' or 'hide_input' in told:
                cell.metadata['transient'] = {'remove_source': True}
            if told.get('output') == 'false' or 'hide_output' in told: cell.outputs = []
            cell.outputs = [output for output in cell.outputs if output.get('name') != 'stderr']
            figures.update(lift_figures(cell, alt=told.get('fig-alt', cell.id.replace('-', ' '))))
        shown.append(cell)
    nb.cells = shown
    text, _ = MarkdownExporter().from_notebook_node(nb)
    return NOTICE + tidy(text).strip() + '\n', figures


def tidy(text):
    "At most one blank line in a row, except in fenced code."
    parts = FENCED.split(re.sub(r'^[ \t]+$', '', text, flags=re.MULTILINE))
    return ''.join(part if i % 2 else re.sub(r'\n{3,}', '\n\n', part) for i, part in enumerate(parts))


def stale(root, figures):
    found = (path.relative_to(root).as_posix() for path in sorted((root/FIGURES).glob('*')))
    return [path for path in found if path not in figures]


def faults(root):
    "What is out of step with the notebook, a line each; nothing is written."
    text, figures = build(root/'nbs/index.ipynb')
    readme = root/'README.md'
    if not readme.exists(): return ['README.md is missing']
    wanted, found = text.splitlines(), readme.read_text(encoding='utf-8').splitlines()
    pairs = enumerate(zip_longest(wanted, found), 1)
    told = [f'README.md, line {n}: has {b!r}, the notebook gives {a!r}' for n, (a, b) in pairs if a != b]
    stand = {path: (root/path).read_bytes() for path in figures if (root/path).exists()}
    wrong = [path for path, image in figures.items() if stand.get(path) != image]
    return [*told[:1], *(f'{path} is missing or differs from the notebook' for path in wrong),
            *(f'{path} is not in the notebook' for path in stale(root, figures))]


def write(root):
    text, figures = build(root/'nbs/index.ipynb')
    (root/'README.md').write_text(text, encoding='utf-8')
    for path in stale(root, figures): (root/path).unlink()
    for path, image in figures.items():
        (root/path).parent.mkdir(parents=True, exist_ok=True)
        (root/path).write_bytes(image)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='write nothing; fail if README.md is another')
    if not parser.parse_args().check: return write(ROOT)
    found = faults(ROOT)
    if found: sys.exit('\n'.join([*found, 'Run `make prepare` to rebuild it.']))


if __name__ == '__main__': main()
