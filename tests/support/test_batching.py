"""How much goes together, and what is done when memory runs out."""

import pytest
import torch

from seewhy.errors import TooLarge
from seewhy.support.batching import BatchSizer, out_of_memory
from seewhy.support.settings import Settings


def test_room_shrinks_to_one_and_says_so():
    sizer = BatchSizer(Settings(most=5), torch.zeros(1, 3, 8, 8))
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")
    assert sizer.note is None
    assert [sizer.shrink(error) and sizer.together for _ in range(3)] == [2, 1, False]
    assert sizer.note == "memory ran out at batches of 5; went on with 1"


def test_room_is_for_about_the_same_work_whatever_the_size():
    sizers = [
        BatchSizer(Settings(), torch.zeros(1, 3, side, side)).together for side in (56, 112, 224)
    ]
    assert sizers[0] == 4 * sizers[1] == 16 * sizers[2]
    assert BatchSizer(Settings(), torch.zeros(1).expand(1, 3, 9000, 9000)).together == 1
    assert BatchSizer(Settings(), torch.zeros(1, 3, 224, 224), area=56 * 56).together == sizers[0]


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_which_errors_are_of_memory(error: BaseException, is_it: bool):
    assert out_of_memory(error) == is_it


def test_parts_are_in_order_and_halved_where_they_do_not_fit():
    def run(some: slice) -> list[int]:
        if some.stop - some.start > 2:
            raise torch.OutOfMemoryError("out of memory")
        return list(range(some.start, some.stop))

    sizer = BatchSizer(Settings(most=4), torch.zeros(1, 3, 8, 8))
    assert list(sizer.parts(5, run)) == [[0, 1], [2, 3], [4]]
    assert sizer.note == "memory ran out at batches of 4; went on with 2"


def test_blocks_cover_a_table_row_by_row_whatever_fits():
    def run(rows: slice, columns: slice) -> list[tuple[int, int]]:
        cells = [(r, c) for r in range(*rows.indices(99)) for c in range(*columns.indices(99))]
        if len(cells) > memory:
            raise torch.OutOfMemoryError("out of memory")
        return cells

    table = [(r, c) for r in range(5) for c in range(3)]
    for most in range(1, 17):
        for memory in range(1, 17):
            sizer = BatchSizer(Settings(most=most), torch.zeros(1, 3, 8, 8))
            blocks = list(sizer.blocks(5, 3, run))
            assert [cell for block in blocks for cell in block] == table
            assert max(map(len, blocks)) <= min(most, memory)
    memory = 99
    sizer = BatchSizer(Settings(most=7), torch.zeros(1, 3, 8, 8))
    assert [len(block) for block in sizer.blocks(5, 3, run)] == [6, 6, 3]


def test_recorded_pictures_take_more_memory_and_most_bounds_them():
    pixels = torch.zeros(1, 3, 224, 224)
    cuda = torch.device("cuda")
    together = {
        (recorded, device): BatchSizer(
            Settings(), pixels, recorded=recorded, device=device
        ).together
        for recorded in (True, False)
        for device in (None, cuda)
    }
    assert together == {(True, None): 4, (False, None): 8, (True, cuda): 64, (False, cuda): 256}
    assert BatchSizer(Settings(), pixels, recorded=True, most=3).together == 3


def test_what_does_not_fit_alone_is_told():
    def run(some: slice) -> None:
        raise torch.OutOfMemoryError("out of memory")

    sizer, told = BatchSizer(Settings(most=2), torch.zeros(1, 3, 8, 8)), TooLarge("net", 8, 8)
    with pytest.raises(TooLarge) as error:
        list(sizer.parts(3, run, told))
    assert error.value is told
    with pytest.raises(torch.OutOfMemoryError):
        list(sizer.parts(3, run))
