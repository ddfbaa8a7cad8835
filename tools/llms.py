"""Write llms.txt and llms-ctx.txt, by which language models find their way, into a folder.

llms.txt has links to the pages and modules, llms-ctx.txt all notebooks as text, without their outputs.
"""
import argparse
import html
import re
from pathlib import Path

from tutorial import PACKAGE, ROOT, load, notebooks, settings, source

SITE = 'https://{user}.github.io/{repo}'.format_map(settings(ROOT))
HEAD = re.compile(r'^# (?P<title>.+)(?:\n+> (?P<answer>.+))?', re.MULTILINE)
HIDDEN = re.compile(r'^#\|\s*hide\s*$', re.MULTILINE)
EXPORTS = re.compile(r'^#\|\s*default_exp\s+(\S+)', re.MULTILINE)


def pages(root):
    "Each notebook as (path below nbs/, its question, its answer, the module it exports or None, its text)."
    for path in notebooks(root):
        nb = load(path)
        cells = [cell for cell in nb['cells'] if not HIDDEN.search(source(cell))]
        text = '\n\n'.join(map(written, cells))
        module = EXPORTS.search('\n'.join(map(source, nb['cells'])))
        head = HEAD.search(text)
        yield path.relative_to(root/'nbs'), head['title'], head['answer'], module and module[1], text


def written(cell):
    text = source(cell).strip()
    return text if cell['cell_type'] == 'markdown' else f'```python\n{text}\n```'


def link(title, page, about):
    return f'- [{title}]({SITE}/{page}.html)' + (f': {about}' if about else '')


def llms(root):
    "The text of llms.txt: what the package is, its notebooks, its modules."
    found = list(pages(root))
    index = next(text for path, *_, text in found if path.name == 'index.ipynb')
    intro = next(part for part in index.split('\n\n')[2:] if part[0].isalpha())
    docs = [link(title, path.with_suffix('').as_posix(), answer) for path, title, answer, *_ in found]
    modules = [link(f'{PACKAGE}.{module}', f"reference/{module.replace('.', '/')}", answer)
               for _, _, answer, module, _ in found if module]
    about = settings(root)['description']
    return '\n\n'.join([f'# {PACKAGE}', f'> {about}', intro, '## Notebooks', '\n'.join(docs),
                        '## Modules', '\n'.join(modules)]) + '\n'


def context(root):
    "The text of llms-ctx.txt: all notebooks, in the order of their names."
    parts = [f'<doc title="{html.escape(title)}" desc="{html.escape(answer or "")}">\n{text}\n</doc>'
             for _, title, answer, _, text in pages(root)]
    about = html.escape(settings(root)['description'])
    first = f'<project title="{PACKAGE}" summary="{about}"><docs>'
    return '\n'.join([first, *parts, '</docs></project>', ''])


def write(root, to):
    to.mkdir(parents=True, exist_ok=True)
    for name, make in {'llms.txt': llms, 'llms-ctx.txt': context}.items():
        (to/name).write_text(make(root), encoding='utf-8')


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path, help='where the two files go')
    write(ROOT, parser.parse_args().folder)


if __name__ == '__main__': main()
