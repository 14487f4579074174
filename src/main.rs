//! The baserunner program: reads the command line, runs, exits.

fn main() -> std::process::ExitCode {
    baserunner::program::run(std::env::args_os()).into()
}
