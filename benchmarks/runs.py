"""What the benchmarks share: running a command once, and reading its log ever after."""
import argparse
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULTS = os.path.join(ROOT, 'results')
sys.path.insert(0, ROOT)  # for plots.py


def parser(doc):
    """A command line with a benchmark's docstring for help, and the flag --again."""
    made = argparse.ArgumentParser(description=doc,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument('--again', action='store_true', help='do not use logs that are there')
    return made


def stem(data):
    """What results made with --data DATA are filed under."""
    return os.path.basename(data).split('.')[0]


def log(command, folder, name, again):
    """The log of `python COMMAND`: of results/FOLDER/NAME.log if it is there, else run now.

    A run that ends in a refusal, as one that diverges does, is kept with its sentence. Raises
    SystemExit where a run fails otherwise.
    """
    path = os.path.join(RESULTS, folder, name + '.log')
    if again or not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        done = subprocess.run([sys.executable] + command.split(), cwd=ROOT, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, universal_newlines=True)
        if done.returncode not in (0, 2):
            raise SystemExit('%s failed: %s' % (command, done.stderr))
        with open(path + '.part', 'w') as file:
            file.write('$ python %s\n%s%s' % (command, done.stdout, done.stderr))
        os.replace(path + '.part', path)
    with open(path) as file:
        return file.read()


def test_accuracy(text):
    """Test accuracy in a log, in percent; None where the run has none."""
    found = re.search(r'^Test accuracy: .*\((\d+)/(\d+)\)', text, re.M)
    return 100 * int(found.group(1)) / int(found.group(2)) if found else None


def seconds(text):
    """How long the training in a log took."""
    return float(re.findall(r' ([\d.]+)s$', text, re.M)[-1])
