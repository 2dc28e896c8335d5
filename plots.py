"""Every picture; among the lessons matplotlib is imported here alone. No screen is needed."""
import os

import matplotlib
matplotlib.use('Agg')  # draw into files, on machines without a screen too
import matplotlib.pyplot as plt
import numpy as np

import utils


def save(figure, folder, name):
    """Write a figure as folder/name.png, whole or not at all, and close it; returns the path.

    Raises utils.Refused where the folder cannot be made or written.
    """
    path = os.path.join(folder, name + '.png')
    try:
        os.makedirs(folder, exist_ok=True)
        figure.savefig(path + '.part', format='png', dpi=100, bbox_inches='tight')
        os.replace(path + '.part', path)
    except OSError as error:
        raise utils.Refused('%s cannot be written (%s): give another folder with --plot.' % (
            path, error.strerror or error))
    finally:
        plt.close(figure)
    return path


# ----------------------------------------------------------------------------------- curve_fit.py

BLUE, RED, GREEN, ORANGE, GREY = '#1f5fa8', '#c8352b', '#2a8a4a', '#d98a10', '#808080'


def polynomials(folder, x, y, fits):
    """The fits (terms, by gradient descent, by least squares) near the points and far from them."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.2))
    for panel, ends in zip(panels, ((-1, 2), (-5, 5))):
        grid = np.linspace(ends[0], ends[1], 401)
        for color, (terms, found, exact) in zip((BLUE, RED), fits):
            panel.plot(grid, np.polyval(found[::-1], grid), color=color, linewidth=2,
                       label='%d terms, gradient descent' % terms)
            panel.plot(grid, np.polyval(exact[::-1], grid), color='black', linewidth=1.2,
                       linestyle=(0, (4, 3)) if terms == fits[0][0] else (0, (1, 2)),
                       label='%d terms, least squares' % terms)
        panel.scatter(x, y, color='black', s=32, zorder=3, clip_on=False, label='the six points')
        panel.set_xlim(*ends)
        panel.set_xlabel('x')
        panel.grid(alpha=0.3)
        panel.set_title('between the points' if ends == (-1, 2) else 'the same curves outside')
    panels[0].legend(frameon=False)
    return save(figure, folder, 'polynomials')


def learning_rates(folder, terms, curves, target):
    """Curves (rate, steps, losses, values): the loss on the left, the first steps on the right."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    for color, width, (rate, steps, losses, values) in zip(
            (ORANGE, RED, BLUE, GREEN, GREY), (4, 1.5, 1.5, 2, 2), curves):
        losses = np.minimum(np.where(np.isfinite(losses), losses, np.inf), 1e20)  # above the top
        late = values[8:16]
        verdict = ('explodes' if losses[-1] > 1e9 else
                   'oscillates' if len(late) and np.ptp(late) > 1 else
                   'works' if losses[-1] < losses[0] / 2 else 'does nothing')
        left.plot(steps, losses, color=color, linewidth=width, label='%.3g %s' % (rate, verdict))
        # An exploding curve leaves the picture at the top, once.
        values = values[:2] if verdict == 'explodes' else values[:25]
        right.plot(steps[:len(values)], values, 'o-', color=color, markersize=4, linewidth=width)
    left.set_xscale('symlog', linthresh=1)
    left.set_yscale('log')
    left.set_xlim(0, max(curves[0][1]))
    left.set_ylim(1e-4, 1e9)
    left.set_xlabel('step')
    left.set_title('sum of squares, %d terms' % terms)
    left.legend(frameon=False, loc='upper right', title='learning rate')
    right.axhline(target, color='black', linewidth=1, linestyle=(0, (4, 3)))
    right.text(25, target, 'the point', va='center')
    right.set_xlim(-0.8, 24.8)
    right.set_ylim(target - 6, target + 6)
    right.set_xlabel('step')
    right.set_title('value of the curve at the last point')
    for panel in (left, right):
        panel.grid(alpha=0.3)
    return save(figure, folder, 'learning_rates')


def batch_sizes(folder, rows):
    """Rows of (size, bytes, seconds, noise), each quantity against the batch size."""
    sizes, peaks, seconds, noises = np.array(rows).T
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.4))
    for panel, title, values in zip(
            panels, ('peak of one step\'s tensors, MB', 'time per step, ms',
                     'gradient noise / gradient'), (peaks / 1e6, seconds * 1e3, noises)):
        panel.plot(sizes, values, 'o' if values is noises else 'o-', color=BLUE, linewidth=2)
        panel.set_title(title)
        panel.set_xlabel('batch size')
        panel.grid(alpha=0.3)
        panel.set_ylim(bottom=0)
        panel.set_xlim(left=0)
    law = np.linspace(sizes[0], sizes[-1], 200)
    panels[2].plot(law, noises[0] * np.sqrt(sizes[0] / law), color='black', linewidth=1,
                   linestyle=(0, (4, 3)), label='1 / square root of batch size')
    panels[2].legend(frameon=False)
    figure.tight_layout()
    return save(figure, folder, 'batch_sizes')
