"""Flags: what a lesson's command line takes, and refuses in one sentence."""
import argparse
import math
import os
import shlex

from data.files import printable

FLOAT32 = 3e38  # its largest numbers: infinity, for TensorFlow, is beyond


class Refused(Exception):
    """A run that cannot start or go on; its message is one sentence with the way out."""


def refuse(rules):
    """Raise Refused with the first sentence of rules, pairs (is it so?, sentence), that applies."""
    for wrong, sentence in rules:
        if wrong:
            raise Refused(sentence)


def number(kind, low, high=math.inf, open_low=False):
    """An argparse type: a finite int or float from low (or above it, open_low) up to high."""
    high = min(high, FLOAT32)

    def parse(text):
        try:
            value = kind(text)
        except (ValueError, OverflowError):
            value = math.nan  # which is in no range
        if low <= value <= high and not (open_low and value == low):
            return value
        wanted = 'a whole number' if kind is int else 'a number'
        bounds = ('greater than %g' if open_low else 'of at least %g') % low
        if high < FLOAT32 or value > high:
            bounds += ' and at most %g' % high
        raise argparse.ArgumentTypeError('%s is not %s %s' % (text, wanted, bounds))
    return parse


def folder(path):
    """An argparse type: a folder to write into, made if need be."""
    try:
        os.makedirs(path, exist_ok=True)
        if os.access(path, os.W_OK | os.X_OK):
            return path
        reason = 'no permission'
    except OSError as error:
        reason = 'it is a file' if os.path.isfile(path) else error.strerror or error
    raise argparse.ArgumentTypeError('%s is not a folder that can be written (%s)' % (path, reason))


class Parser(argparse.ArgumentParser):
    """A command line whose help shows every default and whose refusals are one sentence."""

    def __init__(self, doc):
        super().__init__(description=doc, allow_abbrev=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter)

    def table(self, rows):
        """A flag for each row (name, default, value if none is given, what it takes, text).

        What it takes: None for a switch, a parsing function, or the names to choose from.
        """
        for name, default, bare, takes, text in rows:
            options = {'default': default}
            if takes is None:
                options['action'] = 'store_true'
            elif callable(takes):
                options.update(type=takes, metavar='VALUE')
            else:
                options.update(choices=list(takes), metavar='NAME')
                text += ': ' + ', '.join(takes)
            if bare is not None:
                options.update(nargs='?', const=bare)
                text += '; %s if no value is given' % bare
            self.flag(name, text, **options)

    def flag(self, name, text, **options):
        """add_argument with the default in the help text."""
        default = options.get('default')
        if default is not None and not isinstance(default, bool):
            text += ' (default: %s)' % default
        return self.add_argument(name, help=text.replace('%', '%%'), **options)

    def error(self, message):
        """One sentence, exit code 2: argparse's own usage text would bury it."""
        message = printable(message.replace('argument ', '', 1))
        self.exit(2, '%s: %s; see --help.\n' % (self.prog, message))

    def changed(self, flags):
        """The constants that flags have changed, as they would be typed (data and seed apart)."""
        names = {action.dest: action.option_strings[0] for action in self._actions}
        return ' '.join(
            names[dest] if isinstance(value, bool) else '%s %s' % (
                names[dest], shlex.quote(str(value)))
            for dest, value in vars(flags).items()
            if value != self.get_default(dest) and dest not in ('data', 'seed'))


class Flags(Parser):
    """The flags common to the lessons that train; each adds its own and gives its constants."""

    def __init__(self, doc, steps, batch_size, learning_rate, report_every, seed, data='letters'):
        super().__init__(doc)
        self.flag('--data', 'letters, notmnist, mnist or a PATH', default=data)
        self.flag('--steps', 'training steps', type=number(int, 1), default=steps)
        self.flag('--batch-size', 'images in a minibatch', type=number(int, 1), default=batch_size)
        self.flag('--lr', 'learning rate at the start', metavar='RATE',
                  type=number(float, 0, open_low=True), default=learning_rate)
        self.flag('--report-every', 'steps between two lines of the log', metavar='STEPS',
                  type=number(int, 1), default=report_every)
        self.flag('--seed', 'of weights, dropout and shuffling', type=number(int, 0, 2**31 - 1),
                  default=seed)
        self.flag('--shuffle', 'shuffle the training set first', action='store_true')
        self.flag('--target-accuracy', 'exit with 1 if the test accuracy is lower',
                  metavar='PERCENT', type=number(float, 0, 100))
        self.flag('--plot', 'draw learning curves and mistakes into this folder', metavar='DIR',
                  type=folder)
        self.flag('--logdir', 'write what TensorBoard shows into this folder', metavar='DIR',
                  type=folder)
        self.flag('--gpu-memory', 'share of a GPU\'s memory to take at once, where there is one; '
                  'if not given, it grows as needed', metavar='SHARE',
                  type=number(float, 0, 1, open_low=True))
