//! Tells the linker to route two functions of liburing through `src/net/ring_flags.rs`, which says why.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Without a suffix it holds for every binary of this package: the program, the tests and the benches.
    println!("cargo::rustc-link-arg=-Wl,--wrap=io_uring_queue_init_params");
    println!("cargo::rustc-link-arg=-Wl,--wrap=io_uring_wait_cqes");
}
