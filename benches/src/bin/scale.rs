//! Many connections and many streams in one process, with the system's allocator, on which
//! resident memory depends.

fn main() -> anyhow::Result<()> {
    tcpchan_bench::scale()
}
