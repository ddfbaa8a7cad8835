"""Packaging: every field comes from settings.ini."""
import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

root = Path(__file__).parent
config = ConfigParser(delimiters=['='])
config.read(root/'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']

statuses = {'3': '3 - Alpha', '4': '4 - Beta', '5': '5 - Production/Stable'}
minors = range(int(cfg['min_python'].split('.')[1]), 14)
relative_link = re.compile(r'(!?\[[^\]]*\]\()(?![a-z]+:|#)([^)\s]+)')


def absolute(link):
    "A link of README.md as it works elsewhere, on PyPI"
    text, path = link.groups()
    kind = 'raw' if text.startswith('!') else 'blob'
    return f"{text}{cfg['git_url']}/{kind}/{cfg['branch']}/{path}"


readme = (root/'README.md').read_text(encoding='utf-8')

setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    long_description=relative_link.sub(absolute, readme),
    long_description_content_type='text/markdown',
    keywords=cfg['keywords'],
    author=cfg['author'],
    author_email=cfg['author_email'],
    license='Apache-2.0',
    classifiers=[
        f"Development Status :: {statuses[cfg['status']]}",
        f"Intended Audience :: {cfg['audience']}",
        'Intended Audience :: Education',
        f"Natural Language :: {cfg['language']}",
        'Programming Language :: Python :: 3',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in minors),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Typing :: Typed',
    ],
    python_requires=f">={cfg['min_python']}",
    packages=find_packages(include=[cfg['lib_path'], f"{cfg['lib_path']}.*"]),
    package_data={'': ['*.pyi', 'py.typed']},
    install_requires=cfg['requirements'].split(),
    extras_require={key.removesuffix('_requirements'): value.split() for key, value in cfg.items()
                    if key.endswith('_requirements')},
    entry_points={
        'console_scripts': cfg['console_scripts'].split(),
        'nbdev': [f"{cfg['lib_path']}={cfg['lib_path']}._modidx:d"],
    },
    zip_safe=False,
)
