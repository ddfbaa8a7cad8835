"""Set the version for a release, in each place that has one; the rest of those files stays as it is.

`make release VERSION=1.2.3` runs it: settings.ini, CITATION.cff, cosine_lr/__init__.py, and the changelog,
where the version and the day take the place of `Unreleased`.
"""
import argparse
import datetime
import re
import sys

from tutorial import ROOT

PLACES = {  # where a version stands: what comes before it and after it
    'settings.ini': ('version = ', ''),
    'CITATION.cff': ('version: ', ''),
    'cosine_lr/__init__.py': ('__version__ = "', '"'),
}


def number(version): return tuple(map(int, version.split('.')))


def to(root, version, today=None):
    "Write `version` everywhere, or, where that is not possible, nothing."
    right = re.fullmatch(r'\d+\.\d+\.\d+', version)
    if not right: raise ValueError(f'VERSION must be three numbers, as in 1.2.3, got {version!r}')
    texts = {root/name: replaced(root/name, *around, version) for name, around in PLACES.items()}
    texts[root/'CHANGELOG.md'] = dated(root/'CHANGELOG.md', version, today or f'{datetime.date.today()}')
    for path, text in texts.items(): path.write_text(text, encoding='utf-8')


def replaced(path, before, after, version):
    "The file's text with the new version in its one place."
    text = path.read_text(encoding='utf-8')
    place = re.compile(rf'^({re.escape(before)})([\d.]+)({re.escape(after)})$', re.MULTILINE)
    old = [found[1] for found in place.findall(text)]
    if len(old) != 1:
        raise ValueError(f'{path.name} must have one line {before}…{after}, and has {len(old)}')
    if number(version) < number(old[0]):
        raise ValueError(f'VERSION must be at least {old[0]}, got {version!r}')
    return place.sub(rf'\g<1>{version}\g<3>', text)


def dated(path, version, today):
    "The changelog's text with the version and the day in its first heading."
    text, heading = path.read_text(encoding='utf-8'), rf'^## (Unreleased|{re.escape(version)})$'
    if f'\n## {version} (' in text: return text  # it has its day
    new, count = re.subn(heading, f'## {version} ({today})', text, count=1, flags=re.MULTILINE)
    if not count: raise ValueError(f"{path.name} must have a heading '## Unreleased' over what is new")
    return new


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('version', help='as in 1.2.3, not below the one before')
    try: to(ROOT, version := parser.parse_args().version)
    except ValueError as error: sys.exit(str(error))
    print(f"{version} stands in {', '.join(PLACES)} and CHANGELOG.md.")
    print(f'Now make prepare && make test, commit, and tag it v{version}: a workflow publishes the tag.')


if __name__ == '__main__': main()
