"""MinAtar's space_invaders with maps as whole numbers: a step takes 4 µs, not 80.

The package rolls arrays, which binds a run. Here a map of the grid is a number whose
bit 10 y + x is the cell in row y and column x, so that maps move by shifts. It plays
the very game of the package, which the tests hold it to; it draws no random numbers.
"""

from __future__ import annotations

import numpy as np

_SIDE, _CELLS = 10, 100
_ALL = (1 << _CELLS) - 1
_ROW = (1 << _SIDE) - 1  # the first row; shifted by 10 y it is row y
_BOTTOM = _ROW << (_CELLS - _SIDE)
_COLUMNS = [sum(1 << (_SIDE * y + x) for y in range(_SIDE)) for x in range(_SIDE)]
_WAVE = sum(1 << (_SIDE * y + x) for y in range(4) for x in range(2, 8))
_SHOT_STEPS = 5  # between two shots of the cannon
_ALIEN_SHOT_STEPS = 10
_MOVE_STEPS, _FASTEST_MOVE_STEPS = 12, 6  # between two moves: first wave, last ones
_NONE, _LEFT, _RIGHT, _FIRE = 0, 1, 3, 5  # actions


class SpaceInvaders:
    """One game, with the methods of the package's."""

    def __init__(self, ramping: bool = True) -> None:
        self.ramping = ramping
        self.random = np.random.RandomState(0)  # unused by the game; for sticky actions
        self.reset()

    def state_shape(self) -> tuple[int, int, int]:
        return _SIDE, _SIDE, 6

    def minimal_action_set(self) -> list[int]:
        return [_NONE, _LEFT, _RIGHT, _FIRE]

    def reset(self) -> None:
        """Starts an episode."""
        self.cannon = 5  # its column, in the bottom row
        self.aliens, self.shots, self.alien_shots = _WAVE, 0, 0
        self.leftwards = True
        self.move_steps = _MOVE_STEPS
        self.until_move, self.until_alien_shot = self.move_steps, _ALIEN_SHOT_STEPS
        self.until_shot = 0
        self.terminal = False

    def act(self, action: int) -> tuple[int, bool]:
        """Plays a step; returns the aliens that were hit, and whether it ended."""
        if action == _FIRE and self.until_shot == 0:
            self.shots |= self._cannon_cell()
            self.until_shot = _SHOT_STEPS
        elif action == _LEFT:
            self.cannon = max(0, self.cannon - 1)
        elif action == _RIGHT:
            self.cannon = min(_SIDE - 1, self.cannon + 1)
        self.shots >>= _SIDE
        self.alien_shots = self.alien_shots << _SIDE & _ALL
        cannon = self._cannon_cell()
        if cannon & (self.alien_shots | self.aliens):
            self.terminal = True
        if self.until_move == 0:
            self._move_aliens()
            if cannon & self.aliens:
                self.terminal = True
        if self.until_alien_shot == 0:
            self.until_alien_shot = _ALIEN_SHOT_STEPS
            self.alien_shots |= self._nearest_alien()
        hit = self.aliens & self.shots
        self.aliens ^= hit
        self.shots ^= hit
        self.until_shot -= self.until_shot > 0
        self.until_move -= 1
        self.until_alien_shot -= 1
        if not self.aliens:
            if self.ramping and self.move_steps > _FASTEST_MOVE_STEPS:
                self.move_steps -= 1
            self.aliens = _WAVE
        return hit.bit_count(), self.terminal

    def state(self) -> np.ndarray:
        """[10, 10, 6] bool: cannon, aliens, those that move left and right, shots."""
        left, right = (self.aliens, 0) if self.leftwards else (0, self.aliens)
        maps = (self._cannon_cell(), self.aliens, left, right)
        packed = b"".join(
            cells.to_bytes(16, "little")
            for cells in (*maps, self.shots, self.alien_shots)
        )
        bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")
        cells = bits.reshape(6, 128)[:, :_CELLS]
        return cells.reshape(6, _SIDE, _SIDE).transpose(1, 2, 0).view(bool)

    def _cannon_cell(self) -> int:
        return 1 << (_CELLS - _SIDE + self.cannon)

    def _move_aliens(self) -> None:
        """One cell on; at an edge one row down, and then the other way."""
        self.until_move = min(self.aliens.bit_count(), self.move_steps)
        edge = _COLUMNS[0 if self.leftwards else -1]
        if self.aliens & edge:
            self.leftwards = not self.leftwards
            landed = self.aliens & _BOTTOM
            if landed:
                self.terminal = True
            # The package's rows roll, so those that landed are on top at the very end.
            self.aliens = (self.aliens << _SIDE & _ALL) | landed >> (_CELLS - _SIDE)
        elif self.leftwards:
            self.aliens >>= 1
        else:
            self.aliens <<= 1

    def _nearest_alien(self) -> int:
        """The lowest alien of the column nearest to the cannon, the left one of two."""
        for distance in range(_SIDE):
            for column in (self.cannon - distance, self.cannon + distance):
                if 0 <= column < _SIDE and (there := self.aliens & _COLUMNS[column]):
                    return 1 << (there.bit_length() - 1)
        return 0
