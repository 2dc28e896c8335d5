"""What a newcomer meets: the files of a zip download, somewhere awkward, and few permissions."""
import os
import shlex
import shutil
import subprocess
import sys
import tempfile

import pytest

from conftest import ROOT
from test_lessons import TEST_LINE

NOBODY = '54321'  # a user that is not even in the list of users
READS_ALL = 'dac_read_search'  # this Python may lie in a folder that only root may enter


def first_that_works(*commands):
    """The first of some commands before which `true` may stand, or [] where none works."""
    for command in commands:
        try:
            run = subprocess.run(command + [sys.executable, '-c', ''], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        except OSError:  # not on this system
            continue
        if run.returncode == 0:
            return command
    return []


@pytest.fixture(scope='module')
def newcomer():
    """A function that runs a command as a newcomer: no root, no network, no HOME, no way to write
    into the project's folder, whose path has spaces and letters of several scripts."""
    top = tempfile.mkdtemp()  # not tmp_path, which nobody else may enter
    os.chmod(top, 0o755)
    project, own = os.path.join(top, 'Ünï cödé 空 格'), os.path.join(top, 'mine 我的')
    listed = subprocess.run(['git', 'ls-files', '-z', '-co', '--exclude-standard'], cwd=ROOT,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if listed.returncode == 0:
        for name in filter(None, os.fsdecode(listed.stdout).split('\0')):
            os.makedirs(os.path.dirname(os.path.join(project, name)), exist_ok=True)
            shutil.copy(os.path.join(ROOT, name), os.path.join(project, name))
    else:  # itself a zip download
        shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns('.*', '__pycache__'))
    os.mkdir(own)
    os.chmod(own, 0o777)
    for folder, _, names in os.walk(project):
        for name in names:
            os.chmod(os.path.join(folder, name), 0o444)
        os.chmod(folder, 0o555)
    another = ['setpriv', '--reuid', NOBODY, '--regid', NOBODY, '--clear-groups']
    offline = first_that_works(['unshare', '-n'], ['unshare', '-rn'])
    user = [] if os.getuid() else first_that_works(
        offline + another + ['--inh-caps=-all'], offline + another + [
            '--inh-caps=-all,+' + READS_ALL, '--ambient-caps=-all,+' + READS_ALL])
    if os.getuid() == 0 and not user:
        pytest.skip('root may write everywhere, and setpriv cannot make another user of it here')
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(('PYTHON', 'MPL', 'XDG_', 'LC_', 'LANG'))}

    def run(*words):
        return subprocess.run((user or offline) + [sys.executable] + list(words), cwd=project,
                              env=dict(kept, HOME='/nonexistent', LC_ALL='C'), timeout=600,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    run.own, run.offline, files = own, offline, sorted(os.walk(project))
    yield run
    assert sorted(os.walk(project)) == files  # nothing was written there, nor __pycache__
    for folder, _, _ in os.walk(project):
        os.chmod(folder, 0o755)
    shutil.rmtree(top)


def test_the_newcomer_is_as_poor_as_we_say(newcomer):
    tries = ("import os, socket\n"
             "try: socket.create_connection(('192.0.2.1', 9), 1); print('connected')\n"
             "except OSError as error: print(error.strerror)\n"
             "for folder in '.', 'data', os.path.expanduser('~'):\n"
             "    try: open(os.path.join(folder, 'x'), 'w'); print('written')\n"
             "    except OSError: print('refused')\n"
             "print(os.getuid() != 0)\n")
    said = newcomer('-c', tries).stdout.decode().splitlines()
    assert said[1:] == ['refused'] * 3 + ['True']
    assert said[0] == 'Network is unreachable' or not newcomer.offline


@pytest.mark.parametrize('command', [
    'sgd.py --steps 200',
    'deep_nn.py --steps 200 --layers 6 --dropout --l2 0.001 --hidden 128 --plot OWN/pictures '
    '--logdir OWN/log --checkpoint OWN/ck'])
def test_lessons_run(newcomer, command):
    run = newcomer(*[word.replace('OWN', newcomer.own) for word in command.split()])
    assert (run.returncode, run.stderr) == (0, b'')
    first, *_, last = run.stdout.decode('utf-8').splitlines()
    assert TEST_LINE.match(last)
    if 'OWN' in command:  # said so that it can be typed again
        assert os.path.join(newcomer.own, 'ck') in shlex.split(first)
    for flag, written in (('pictures', 'learning_curves.png'), ('log', 'events.'),
                          ('ck', 'model-')):
        if flag in command:
            names = os.listdir(os.path.join(newcomer.own, flag))
            assert any(name.startswith(written) for name in names), names


def test_data_sets_can_be_shown_but_not_made(newcomer):
    picture = os.path.join(newcomer.own, 'letters.png')
    shown = newcomer('-m', 'data.letters', '--show', picture)
    assert (shown.returncode, shown.stderr) == (0, b'') and os.path.getsize(picture) > 100000
    made = newcomer('-m', 'data.mnist')
    assert made.returncode == 2 and made.stdout == b''
    assert b'mnist.npz cannot be written' in made.stderr and made.stderr.count(b'\n') == 1
