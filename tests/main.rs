//! Black-box tests through the public port and the command line.

mod process;
mod settings;
