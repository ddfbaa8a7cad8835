"""What mypy and pyright make of README's snippets, and of a user's scripts in tests/types/.

A line of tests/types/refused.py that a checker lets pass is a fault: its `type: ignore` is then unused.
"""
import re
import sys
import tempfile
from pathlib import Path

from tutorial import ROOT, tool

SCRIPTS = 'tests/types'
SNIPPET = re.compile(r'^```python\n(.+?)\n```$', re.MULTILINE | re.DOTALL)


def snippets(readme):
    "The Python of a README as one script."
    return '\n\n'.join(SNIPPET.findall(readme.read_text(encoding='utf-8'))) + '\n'


def start(name, root, script):
    "One of the checkers, at work; pyright takes node from its own environment."
    options = {'mypy': ['--no-error-summary'], 'pyright': ['--pythonpath', sys.executable]}
    return tool(name, *options[name], script, SCRIPTS, root=root, PYTHONPATH=str(root), MYPYPATH=str(root),
                PYRIGHT_PYTHON_GLOBAL_NODE='0', PYRIGHT_PYTHON_IGNORE_WARNINGS='1')


def faults(root):
    "What either checker objects to, a line each; a checker that is missing raises FileNotFoundError."
    with tempfile.TemporaryDirectory() as tmp:
        (script := Path(tmp)/'readme_snippets.py').write_text(snippets(root/'README.md'), encoding='utf-8')
        running = {name: start(name, root, script) for name in ('mypy', 'pyright')}
        said = {name: process.communicate()[0] for name, process in running.items()}
    found = []
    for name, process in running.items():
        text = said[name].replace(str(script), 'README.md, its snippets')
        lines = [line.strip() for line in text.splitlines() if 'error:' in line or '- error' in line]
        found += [f'{name}: {line}' for line in lines]
        status = process.returncode
        if status and not lines: found.append(f'{name} ended with status {status}:\n{text}')
    return found


def main():
    found = faults(ROOT)
    print(*found, f"{len(found)} faults" if found else 'ok', sep='\n')
    sys.exit(bool(found))


if __name__ == '__main__': main()
