//! Loopback tests of this room: scripted brains, raw sockets on both sides, both runtimes.

mod clients;
mod hostile;
mod http1;
mod rig;
mod upstreams;
