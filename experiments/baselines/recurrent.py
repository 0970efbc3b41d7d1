"""A bidirectional LSTM over padded unit states."""

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class BiLstm(nn.Module):
    """`[B, L, D]` to `[B, L, size]`, half of it from each direction; padding is never read, and is 0 in the result."""

    def __init__(self, input_size: int, size: int):
        super().__init__()
        self.lstm = nn.LSTM(input_size, size // 2, batch_first=True, bidirectional=True)

    def forward(self, states: Tensor, num_units: Tensor) -> Tensor:
        packed = pack_padded_sequence(states, num_units.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=states.shape[1])[0]
