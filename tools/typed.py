"""What type checkers make of the package: mypy and pyright read README's snippets and the scripts in tests/types/.

A line of tests/types/refused.py that a checker lets pass is a fault: its `type: ignore` is then unused.
"""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = 'tests/types'
SNIPPET = re.compile(r'^```python\n(.+?)\n```$', re.MULTILINE | re.DOTALL)


def snippets(readme):
    "The Python of a README as one script."
    return '\n\n'.join(SNIPPET.findall(readme.read_text(encoding='utf-8'))) + '\n'


def commands(root, script):
    "The two checkers' command lines, {name: words}; node comes from the same environment as pyright."
    files = [str(script), SCRIPTS]
    bin = Path(sys.executable).parent
    return {
        'mypy': [bin/'mypy', '--no-error-summary', '--cache-dir', root/'.mypy_cache', *files],
        'pyright': [bin/'pyright', '--pythonpath', sys.executable, *files],
    }


def start(command, root):
    env = os.environ | dict(PYTHONPATH=str(root), MYPYPATH=str(root), PYRIGHT_PYTHON_GLOBAL_NODE='0',
                            PYRIGHT_PYTHON_IGNORE_WARNINGS='1')
    return subprocess.Popen([str(word) for word in command], cwd=root, env=env, text=True, encoding='utf-8',
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def faults(root):
    "What either checker objects to, a line each; a checker that is missing raises FileNotFoundError."
    with tempfile.TemporaryDirectory() as tmp:
        (script := Path(tmp)/'readme_snippets.py').write_text(snippets(root/'README.md'), encoding='utf-8')
        running = {name: start(command, root) for name, command in commands(root, script).items()}
        said = {name: (process.communicate()[0], process.returncode) for name, process in running.items()}
    found = []
    for name, (text, status) in said.items():
        text = text.replace(str(script), 'README.md, its snippets')
        lines = [line.strip() for line in text.splitlines() if 'error' in line]
        if status: found += [f'{name}: {line}' for line in lines] or [f'{name} ended with status {status}:\n{text}']
        elif 'error' in text and '0 errors' not in text: found.append(f'{name} passed, and said:\n{text}')
    return found


def main():
    found = faults(ROOT)
    print(*found, f"{len(found)} faults" if found else 'ok', sep='\n')
    sys.exit(bool(found))


if __name__ == '__main__': main()
