//! The program `baserunner`.

fn main() -> std::process::ExitCode {
    baserunner::program::run(std::env::args_os()).into()
}
