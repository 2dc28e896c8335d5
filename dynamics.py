"""The three-scroll system of notes 3, and measures of chaos, for attractor.py.

The notes' x^2 term gives no chaotic attractor. With +0.65 x^2 orbits leave for good, in less than
a second: the sign has to be minus. With -0.65 x^2 they are chaotic at first only: a closed loop of
9.9928 s catches most within 20 s and caught all of 200 within 110 s. A loop has no Lyapunov time.
With -0.66 x^2 there are the same three scrolls, and the orbits stay chaotic: 40 of 40 over 200 s.
"""
import numpy as np
from scipy import integrate

SQUARE = 0.66            # coefficient of -x^2; the notes' 0.65 ends on a closed loop
TOLERANCE = 1e-9         # of the integration, in each coordinate: they reach some 200


def three_scroll(states, square=SQUARE):
    """The system's equations (notes 3): states is float64 [3, ...]; returns d states / dt."""
    x, y, z = states
    return np.stack([40 * (y - x) + 0.16 * x * z,
                     55 * x - x * z + 20 * y,
                     1.833 * z + x * y - square * x ** 2])


def integrated(flow, states, times):
    """Follow several states at once: flow as three_scroll, states float64 [dimensions, n].

    times: seconds, rising from 0. Returns float64 [n, times, dimensions].
    """
    solution = integrate.solve_ivp(
        lambda time, flat: flow(flat.reshape(states.shape)).ravel(), [0, times[-1]], states.ravel(),
        method='DOP853', rtol=TOLERANCE, atol=TOLERANCE, t_eval=times)
    return solution.y.reshape(states.shape + (-1,)).transpose(1, 2, 0)


def orbits(count, samples, step, seed, transient=8.0):
    """Orbits of the three-scroll system from random starts: float64 [count, samples, 3].

    step: seconds between two samples; transient: seconds left out first, to be on the attractor.
    """
    starts = np.random.RandomState(seed).uniform(-50, 50, [3, count]) + [[0], [0], [80]]
    settled = integrated(three_scroll, starts, [0, transient])[:, -1].T      # [3, count]
    return integrated(three_scroll, settled, step * np.arange(samples))


def lyapunov_exponent(advance, states, time, rounds, separation=1e-6):
    """The largest Lyapunov exponent, from pairs of neighbours (Benettin 1976), per unit of time.

    advance: takes states float64 [dimensions, n] to where they are after time; rounds: how often.
    Each pair starts a separation apart, and is brought back to it after each round.
    """
    apart = np.zeros_like(states)
    apart[0] = separation
    growth = []
    for _ in range(rounds):
        ends = advance(np.concatenate([states, states + apart], 1))
        states, neighbours = np.split(ends, 2, axis=1)
        apart = neighbours - states
        distances = np.linalg.norm(apart, axis=0)                            # [n]
        growth.append(np.log(distances / separation))
        apart *= separation / distances
    # The first tenth of the rounds turns the pairs into the direction that grows fastest.
    return float(np.mean(growth[rounds // 10:]) / time)


def three_scroll_exponent(states, seconds=20, time=0.1):
    """The exponent of the three-scroll system per second, averaged over states [3, n] and time."""
    return lyapunov_exponent(lambda now: integrated(three_scroll, now, [0, time])[:, -1].T,
                             states, time, int(seconds / time))


def horizons(free, true, threshold=0.4):
    """For how many samples a free run is a forecast: int [n]; both are [n, samples, dimensions].

    Until the error's root mean square over the coordinates, which have a standard deviation of 1,
    passes the threshold; samples where it never does.
    """
    errors = np.sqrt(np.mean((free - true) ** 2, axis=2))                    # [n, samples]
    late = ~(errors <= threshold)                                            # not a number: late
    return np.where(late.any(axis=1), late.argmax(axis=1), late.shape[1])


LEVELS = (np.arange(100) + 0.5) / 100   # quantiles that are compared


def profile(series, typical):
    """Where orbits [n, samples, 3] are and how they move on, seen along 64 directions: [100, 64].

    typical: [3], the standard deviation of a true orbit's moves; that of its states is 1.
    """
    moves = np.diff(series, axis=1) / typical
    both = np.concatenate([series[:, 1:], moves], axis=2).reshape(-1, 6)
    rays = np.random.RandomState(0).randn(6, 64)
    rays /= np.linalg.norm(rays, axis=0)
    return np.quantile(both.dot(rays), LEVELS, axis=0)


def distance(first, second):
    """Between two profiles: the sliced Wasserstein distance, in standard deviations."""
    return float(np.mean(np.abs(first - second)))
