//! The program `baserunner-guard`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    baserunner::guard_program::run(std::env::args_os()).into()
}
