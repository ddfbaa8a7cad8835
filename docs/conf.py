"""Sphinx: how the pages that tools/docs.py lays out become a site."""
from configparser import ConfigParser
from pathlib import Path

config = ConfigParser(delimiters=['='])
config.read(Path(__file__).parent.parent/'settings.ini', encoding='utf-8')
project, author, release = (config['DEFAULT'][name] for name in ('title', 'author', 'version'))
copyright = config['DEFAULT']['copyright']

extensions = ['myst_nb', 'sphinx.ext.mathjax', 'sphinx-mathjax-offline']
myst_enable_extensions = ['dollarmath']
myst_heading_anchors = 3
nb_execution_mode = 'off'  # the notebooks are committed with their outputs
nb_merge_streams = True
html_theme = 'furo'  # follows the reader's choice of light or dark
html_title = project
html_theme_options = {
    'source_repository': config['DEFAULT']['git_url'],
    'source_branch': config['DEFAULT']['branch'],
    'source_directory': 'nbs/',
}
html_css_files = ['figures.css']
html_static_path = ['static']
html_show_sourcelink = False
templates_path = ['templates']
html_sidebars = {'**': [f'sidebar/{part}.html' for part in (
    'brand', 'search', 'scroll-start', 'play', 'navigation', 'scroll-end', 'variant-selector')]}
