//! The agent's footprint on a device, against the budgets of the design: binary size, memory (the guard's too), threads,
//! CPU and bytes per heartbeat, and the time from start to the first call. It runs the agent, Cloudly and a simulated
//! Supervisor.
//!
//! CPU is measured twice, with heartbeats and with almost none, and told apart: what a heartbeat costs, and what the
//! agent's looks at the host and the Supervisor cost, which it takes as often whether it sends heartbeats or not.
//!
//! `cargo bench --profile dev --bench footprint` measures for twelve minutes with a heartbeat every ten seconds;
//! `-- --quick` sends as many heartbeats in one minute. `-- --binary FILE` sets the agent to measure, with its guard's
//! program beside it (default: the static release build, built if missing), `-- --enforce` fails when a budget is exceeded. Time budgets are only
//! printed, because they depend on other load on the computer.

use baseos_interfaces::rules::{GUARD_PROGRAM, GUARD_SERVICE};
use baseos_simulator::clock::{Clock, sleep};
use baseos_simulator::harness::{Programs, TestRelease, Testbed, TestbedOptions, ensure, wait_until};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const TARGET: &str = "x86_64-unknown-linux-musl";
const HEARTBEATS: u32 = 60;
const STARTS: u32 = 15;
/// How long the looks alone are measured: three looks at the Supervisor and 18 at the host.
const QUIET_SECONDS: u32 = 90;
/// The interval of heartbeats then.
const QUIET_INTERVAL: u32 = 3600;
/// Lines a second that containers write while the cost of skipping them is measured.
const LOG_LINES: u32 = 1000;
const LOG_SECONDS: u32 = 20;

struct Row {
    what: &'static str,
    measured: f64,
    /// `None`: not limited by itself.
    budget: Option<f64>,
    unit: &'static str,
    enforced: bool,
}

/// What the agent used up in a while.
struct Span {
    seconds: f64,
    heartbeats: f64,
    cpu_nanos: f64,
    wire_bytes: f64,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let after = |flag: &str| {
        args.iter()
            .position(|arg| arg == flag)
            .and_then(|at| args.get(at + 1))
    };
    let interval = if has("--quick") { 1 } else { 10 };
    // target/<profile>/deps/footprint-… -> target
    let target = std::env::current_exe()?
        .ancestors()
        .nth(3)
        .ok_or("the benchmark is not in target/<profile>/deps")?
        .to_owned();
    let agent = match after("--binary") {
        Some(path) => PathBuf::from(path),
        None => build(&target)?,
    };
    let cloudly = target.join("debug/cloudly");
    if !cloudly.is_file() {
        cargo(&["build", "--package", "cloudly-baseos", "--bin", "cloudly"])?;
    }
    let programs = Programs {
        baserunner: agent.clone(),
        cloudly,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let size = |what, program: &Path, budget| -> Result<Row> {
        let metadata =
            std::fs::metadata(program).map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Row {
            what,
            measured: metadata.len() as f64 / f64::from(1 << 20),
            budget: Some(budget),
            unit: "MiB",
            enforced: true,
        })
    };
    let mut rows = vec![
        size("static binary, stripped", &agent, 4.2)?,
        size(
            "static binary of the guard, stripped",
            &agent.with_file_name(GUARD_PROGRAM),
            1.0,
        )?,
    ];
    let quiet = runtime.block_on(measure_quiet(programs.clone()))?;
    rows.extend(runtime.block_on(measure_idle(programs, interval, &quiet))?);
    rows.push(measure_start(&agent)?);

    println!(
        "footprint of {} ({HEARTBEATS} heartbeats, one every {interval} s)",
        agent.display()
    );
    println!("| what | measured | budget | of the budget |\n| --- | ---: | ---: | ---: |");
    let mut exceeded = false;
    for row in &rows {
        let (what, measured, unit) = (row.what, row.measured, row.unit);
        match row.budget {
            Some(budget) => {
                let share = 100.0 * measured / budget;
                println!("| {what} | {measured:.2} {unit} | {budget} {unit} | {share:.0} % |");
                exceeded |= row.enforced && measured > budget;
            }
            None => println!("| {what} | {measured:.2} {unit} | | |"),
        }
    }
    if exceeded && has("--enforce") {
        return Err("a budget is exceeded".into());
    }
    Ok(())
}

fn cargo(args: &[&str]) -> Result<()> {
    let status = Command::new("cargo").args(args).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("cargo {}: {status}", args.join(" ")).into())
    }
}

fn build(target: &Path) -> Result<PathBuf> {
    let path = target.join(TARGET).join("release/baserunner");
    if !path.is_file() || !path.with_file_name(GUARD_PROGRAM).is_file() {
        cargo(&[
            "build",
            "--release",
            "--target",
            TARGET,
            "--package",
            "baserunner",
            "--bins",
        ])?;
    }
    Ok(path)
}

/// An agent that is enrolled and has sent its first full status, its process, and Cloudly's port.
async fn enrolled(programs: Programs, interval: u32) -> Result<(Testbed, u32, u16)> {
    let mut options = TestbedOptions::new(programs);
    for (name, seconds) in [
        ("CLOUDLY_HEARTBEAT_SECONDS", interval),
        ("CLOUDLY_ACTIVE_HEARTBEAT_SECONDS", interval),
        ("CLOUDLY_MIN_HEARTBEAT_SECONDS", interval.min(10)),
    ] {
        options
            .cloudly_environment
            .insert(name.to_owned(), seconds.to_string());
    }
    let testbed = Testbed::start(options).await?;
    testbed
        .wait_node("the node reports", Duration::from_secs(60), |node| {
            node.status.is_some()
        })
        .await?;
    // Until the first events are reported and the node has reached its phase in the interval.
    sleep(Duration::from_secs(u64::from(3 * interval.min(10)))).await;
    let pid = testbed.device.pid("baserunner").ok_or("the agent does not run")?;
    let port = testbed
        .cloudly
        .url()
        .rsplit(':')
        .next()
        .unwrap_or_default()
        .parse()?;
    Ok((testbed, pid, port))
}

/// Measures an agent for a while; `every` is called twice a second.
async fn measure(pid: u32, port: u16, seconds: u32, mut every: impl FnMut() -> Result<()>) -> Result<Span> {
    let (cpu, wire) = (cpu_nanos(pid)?, Wire::of(port)?);
    let clock = Clock::start();
    let span = Duration::from_secs(seconds.into());
    while clock.now() < span {
        sleep(Duration::from_millis(500)).await;
        every()?;
    }
    let (cpu, wire) = (cpu_nanos(pid)? - cpu, Wire::of(port)?.since(&wire));
    Ok(Span {
        seconds: clock.now().as_secs_f64(),
        // Every answer of Cloudly is one data segment.
        heartbeats: wire.answers,
        cpu_nanos: cpu,
        wire_bytes: wire.bytes,
    })
}

/// Measures an agent that has almost no heartbeats to send.
async fn measure_quiet(programs: Programs) -> Result<Span> {
    let (_testbed, pid, port) = enrolled(programs, QUIET_INTERVAL).await?;
    measure(pid, port, QUIET_SECONDS, || Ok(())).await
}

/// Nanoseconds of CPU for a heartbeat, and for a second of everything else, from two spans with different shares of
/// them.
fn told_apart(busy: &Span, quiet: &Span) -> (f64, f64) {
    let by = busy.heartbeats * quiet.seconds - quiet.heartbeats * busy.seconds;
    (
        (busy.cpu_nanos * quiet.seconds - quiet.cpu_nanos * busy.seconds) / by,
        (busy.heartbeats * quiet.cpu_nanos - quiet.heartbeats * busy.cpu_nanos) / by,
    )
}

/// Measures an enrolled, idle agent.
async fn measure_idle(programs: Programs, interval: u32, quiet: &Span) -> Result<Vec<Row>> {
    let (testbed, pid, port) = enrolled(programs, interval).await?;
    let mut threads = Vec::new();
    let busy = measure(pid, port, HEARTBEATS * interval, || {
        threads.push(status(pid, "Threads:")?);
        Ok(())
    })
    .await?;
    threads.sort_by(f64::total_cmp);
    let heartbeats = busy.heartbeats.max(1.0);
    let (of_heartbeat, of_second) = told_apart(&busy, quiet);
    let idle = busy.cpu_nanos / 1e9 / busy.seconds;
    let logs = log_share(&testbed, pid).await? - idle;
    let (resident, anonymous) = (status(pid, "VmRSS:")?, status(pid, "RssAnon:")?);
    let guard = guard_resident(&testbed).await?;
    let row = |what, measured, budget, unit| Row {
        what,
        measured,
        budget: Some(budget),
        unit,
        enforced: true,
    };
    Ok(vec![
        row("resident memory", resident / 1024.0, 5.0, "MiB"),
        row("of which anonymous", anonymous / 1024.0, 1.0, "MiB"),
        row("resident memory of the guard", guard / 1024.0, 2.0, "MiB"),
        row("threads when idle", threads[threads.len() / 2], 1.0, "threads"),
        Row {
            enforced: false,
            ..row("CPU per heartbeat", of_heartbeat / 1e6, 0.25, "ms")
        },
        Row {
            what: "CPU for looks at host and Supervisor",
            measured: 60.0 * of_second / 1e6,
            budget: None,
            unit: "ms a minute",
            enforced: false,
        },
        Row {
            what: "CPU of all that, per heartbeat of this measurement",
            measured: busy.cpu_nanos / 1e6 / heartbeats,
            budget: None,
            unit: "ms",
            enforced: false,
        },
        Row {
            enforced: false,
            ..row(
                "CPU for 1,000 lines a second of containers",
                (100.0 * logs).max(0.0),
                1.0,
                "% of a core",
            )
        },
        row(
            "bytes per heartbeat (IP, both directions, plain HTTP)",
            busy.wire_bytes / heartbeats,
            700.0,
            "B",
        ),
    ])
}

/// KiB of the guard that a proven release has, while nothing is on trial.
async fn guard_resident(testbed: &Testbed) -> Result<f64> {
    let commit = "a1a1a1a1";
    testbed
        .publish(&TestRelease::new(commit, "1.0.0", "onebox:1"))
        .await?;
    let policy = testbed.quick_policy();
    testbed.set_desired(Some(commit), policy).await?;
    let report = testbed.state_dir().join("guard-report.json");
    let held = || std::fs::read_to_string(&report).is_ok_and(|report| report.contains(commit));
    wait_until(
        "the guard holds the release",
        Duration::from_secs(60),
        async || ensure(held(), || "it does not".to_owned()),
    )
    .await?;
    // A few of its looks at the orders.
    sleep(Duration::from_secs(5)).await;
    let pid = testbed
        .device
        .pid(GUARD_SERVICE)
        .ok_or("the guard does not run")?;
    status(pid, "VmRSS:")
}

/// The share of a core that the agent needs while containers write to the Supervisor's log, everything included.
async fn log_share(testbed: &Testbed, pid: u32) -> Result<f64> {
    let line =
        "2026-11-24T06:37:18.108Z INFO request done method=GET path=/status status=200 took=3.2ms ".repeat(2);
    let (cpu, clock) = (cpu_nanos(pid)?, Clock::start());
    let mut written = 0;
    while written < LOG_LINES * LOG_SECONDS {
        let due = (clock.now().as_secs_f64() * f64::from(LOG_LINES)) as u32;
        for _ in written..due {
            testbed.device.write_log_line("onebox", &line);
        }
        written = due.max(written);
        sleep(Duration::from_millis(2)).await;
    }
    Ok((cpu_nanos(pid)? - cpu) / clock.now().as_nanos() as f64)
}

/// Measures the time from the start of the process to the first byte that reaches Cloudly.
fn measure_start(agent: &Path) -> Result<Row> {
    let mut best = f64::MAX;
    for _ in 0..STARTS {
        let dir = tempfile::tempdir()?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let clock = Clock::start();
        let mut child = Command::new(agent)
            .env_clear()
            .env("BASEOS_CLOUDLY_URL", format!("http://{}", listener.local_addr()?))
            .env("BASEOS_ALLOW_HTTP", "1")
            .env("BASEOS_JOIN_TOKEN", join_token())
            .env("BASEOS_STATE_DIR", dir.path().join("state"))
            .env("BASEOS_RUN_DIR", dir.path().join("run"))
            .env("BASEOS_LOCK_DIR", dir.path())
            .stderr(Stdio::null())
            .spawn()?;
        let (mut connection, _) = listener.accept()?;
        std::io::Read::read(&mut connection, &mut [0; 16])?;
        best = best.min(clock.now().as_secs_f64() * 1000.0);
        child.kill()?;
        child.wait()?;
    }
    Ok(Row {
        what: "start to register, best of 15",
        measured: best,
        budget: Some(5.0),
        unit: "ms",
        enforced: false,
    })
}

fn join_token() -> String {
    use baseos_interfaces::token::{Token, TokenKind};
    Token::mint(TokenKind::Join, |bytes| bytes.fill(7))
        .expose()
        .to_owned()
}

/// CPU time of all threads of the process, nanoseconds.
fn cpu_nanos(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split_whitespace().next().unwrap_or("0").parse::<f64>()?;
    }
    Ok(sum)
}

/// The number in a line of `/proc/<pid>/status`.
fn status(pid: u32, name: &str) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .ok_or_else(|| format!("no {name}"))?;
    Ok(line.split_whitespace().next().unwrap_or("0").parse()?)
}

/// The kernel's counters of the agent's connection, on Cloudly's side.
#[derive(Default)]
struct Wire {
    bytes: f64,
    answers: f64,
}

impl Wire {
    /// Bytes of the IPv4 and TCP headers (with timestamps) of a segment.
    const HEADERS: f64 = 20.0 + 32.0;

    fn of(port: u16) -> Result<Self> {
        let output = Command::new("ss")
            .args(["-tinH", "state", "established", &format!("sport = :{port}")])
            .output();
        let output = output.map_err(|error| format!("ss (Debian package iproute2): {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let sum = |name: &str| -> f64 {
            let values = text
                .split_whitespace()
                .filter_map(|field| field.strip_prefix(name)?.strip_prefix(':'));
            values.filter_map(|value| value.parse::<f64>().ok()).sum()
        };
        let segments = sum("segs_in") + sum("segs_out");
        Ok(Self {
            bytes: sum("bytes_sent") + sum("bytes_received") + Self::HEADERS * segments,
            answers: sum("data_segs_out"),
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            bytes: self.bytes - before.bytes,
            answers: self.answers - before.answers,
        }
    }
}
