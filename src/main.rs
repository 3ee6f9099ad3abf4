//! The `avouch` binary: sets up logging, reads the command line, runs the command.

use std::process::ExitCode;

fn main() -> ExitCode {
    avouch::cli::run()
}
