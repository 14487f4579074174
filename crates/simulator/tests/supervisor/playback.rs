//! Playing a recording against the simulated Supervisor.

use crate::compare::difference;
use crate::recording::{Coverage, lines};
use crate::summaries::{
    apps_summary, count_runs, device_summary, is_simulated, seconds, status_summary, text,
};
use crate::virtual_supervisor::{Intervention, STEP, VirtualSupervisor, get};
use baseos_simulator::json::Json;
use baseos_simulator::supervisor::{Answer, Config, Effect, Reply, Supervisor};
use std::collections::BTreeMap;
use std::time::Duration;

impl VirtualSupervisor {
    /// Plays a recording; `script` has what happened before which line.
    pub(crate) fn play(&mut self, file: &str, script: &[(usize, Intervention)], coverage: &mut Coverage) {
        let lines = lines(file);
        let start = self.now;
        let first = lines.first().map(seconds).unwrap();
        // GETs are compared afterwards: recorded times are whole seconds, so the answer may be of any moment within a
        // second.
        let mut seen: Vec<(Duration, BTreeMap<String, Json>)> = Vec::new();
        let mut paths: Vec<String> = lines
            .iter()
            .filter(|line| text(line, "method") == "GET")
            .map(|line| text(line, "path"))
            .collect();
        paths.sort();
        paths.dedup();
        let watched =
            |path: &str| matches!(path, "/v1/device" | "/v2/state/status" | "/v2/applications/state");
        let mut gets = Vec::new();
        let mut watch = |model: &mut Supervisor, now: Duration| {
            let poll = paths.iter().filter(|path| watched(path) && model.is_up());
            let answers: Vec<String> = poll.cloned().collect();
            let all = answers
                .into_iter()
                .map(|path| (path.clone(), get(model, now, &path)))
                .collect();
            seen.push((now, all));
        };
        for (number, line) in lines.iter().enumerate() {
            self.advance_to(start + Duration::from_secs(seconds(line) - first), &mut watch);
            for (_, intervention) in script.iter().filter(|(at, _)| *at == number) {
                self.intervene(intervention);
            }
            let path = text(line, "path");
            if !is_simulated(&path) {
                coverage.skipped(&format!("{} {path}", text(line, "method")));
                continue;
            }
            if text(line, "method") == "GET"
                && watched(&path)
                && line.get("status").and_then(Json::as_id) == Some(200)
            {
                gets.push((self.now, number));
                continue;
            }
            self.compare_now(file, number, line, &mut watch);
            coverage.compared(file);
        }
        self.advance_to(self.now + Duration::from_secs(1), &mut watch);
        for (at, number) in gets {
            compare_seen(file, number, &lines[number], at, &seen);
            coverage.compared(file);
        }
    }

    fn compare_now(
        &mut self,
        file: &str,
        number: usize,
        line: &Json,
        watch: &mut dyn FnMut(&mut Supervisor, Duration),
    ) {
        let body = match line.get("body") {
            None | Some(Json::Null) => Vec::new(),
            Some(Json::String(text)) => text.clone().into_bytes(),
            Some(body) => body.to_text().into_bytes(),
        };
        let key = match text(line, "key").as_str() {
            "scoped" => Some(self.model.service_key(4242, "main")),
            "global" => Some(Config::default().api_key),
            "none" => None,
            wrong => Some(wrong.to_owned()),
        };
        let was_up = self.model.is_up();
        let what = format!(
            "{file}:{}: {} {}",
            number + 1,
            text(line, "method"),
            text(line, "path")
        );
        let reply = self.request(&text(line, "method"), &text(line, "path"), key, body);
        if let Some(error) = line.get("error").and_then(Json::as_str) {
            assert_eq!(reply, Reply::Dropped, "{what}");
            assert_eq!(was_up, error.starts_with("RemoteDisconnected"), "{what}: {error}");
            return;
        }
        let answer = match reply {
            Reply::Answer(answer) => answer,
            Reply::Later(ticket) => self.later(ticket, watch),
            Reply::Dropped | Reply::Log => panic!("{what}: an answer was recorded, got none"),
        };
        let status = line.get("status").and_then(Json::as_id);
        assert_eq!(status, Some(u64::from(answer.status)), "{what}: {}", answer.body);
        let kind = line.get("content_type").and_then(Json::as_str);
        assert_eq!(kind, answer.content_type, "{what}: content type");
        match line.get("resp").unwrap() {
            Json::String(recorded) => assert_eq!(*recorded, answer.body, "{what}"),
            recorded => {
                let got = Json::parse(answer.body.as_bytes()).unwrap();
                // The target's internal form has values from the recorded images: only its structure is compared.
                let values = text(line, "path") != "/v2/local/target-state"
                    || answer.status != 200
                    || number == 0 && file.starts_with("u01");
                if let Some(difference) = difference(recorded, &got, values) {
                    panic!("{what}: {difference}");
                }
            }
        }
    }

    fn later(&mut self, ticket: u64, watch: &mut dyn FnMut(&mut Supervisor, Duration)) -> Answer {
        for _ in 0..500 {
            self.advance_to(self.now + STEP, watch);
            let done = self.effects.iter().find_map(|effect| match effect {
                Effect::Answer { ticket: of, answer } if *of == ticket => Some(answer.clone()),
                _ => None,
            });
            if let Some(answer) = done {
                return answer;
            }
        }
        panic!("no answer came")
    }

    /// Plays recorded polls: the states have to come in the recorded order, and a lasting state has to be a recorded
    /// one.
    pub(crate) fn play_polls(&mut self, file: &str, script: &[(u64, Intervention)], coverage: &mut Coverage) {
        let lines: Vec<Json> = lines(file)
            .into_iter()
            .filter(|line| line.get("status").is_some())
            .collect();
        let start = self.now;
        let end = lines
            .last()
            .and_then(|line| line.get("t").cloned())
            .unwrap()
            .to_text()
            .parse::<f64>()
            .unwrap();
        let mut script = script.to_vec();
        let mut shown: Vec<[String; 3]> = Vec::new();
        let steps = (end * 1000.0) as u64 / 20 + 100;
        for step in 0..steps {
            while script.first().is_some_and(|(at, _)| *at <= step * 20) {
                let (_, intervention) = script.remove(0);
                self.intervene(&intervention);
            }
            shown.push([
                status_summary(&self.get("/v2/state/status")),
                device_summary(&self.get("/v1/device")),
                apps_summary(&self.get("/v2/applications/state")),
            ]);
            self.advance_to(start + Duration::from_millis(step * 20), &mut |_, _| {});
        }
        let summaries: [fn(&Json) -> String; 3] = [
            |line| status_summary(line.get("status").unwrap()),
            |line| device_summary(line.get("device").unwrap()),
            |line| apps_summary(line.get("apps").unwrap()),
        ];
        for (index, summary) in summaries.iter().enumerate() {
            let recorded = count_runs(lines.iter().map(summary));
            let got = count_runs(shown.iter().map(|states| states[index].clone()));
            let mut rest = got.iter();
            for (state, _) in &recorded {
                let found = rest.any(|(other, _)| other == state);
                assert!(
                    found,
                    "{file}: a recorded state is missing or in another order:\n  {state}\nof\n  {recorded:#?}\ngot\n  {got:#?}"
                );
            }
            for (state, steps) in &got {
                // A step is 20 ms; the recording polled three addresses in turn, every 200 ms.
                let lasting = *steps > 35 && !recorded.iter().any(|(other, _)| other == state);
                assert!(
                    !lasting,
                    "{file}: a state that was not recorded lasts {} ms:\n  {state}\nof\n  {recorded:#?}",
                    steps * 20
                );
            }
        }
        for _ in &lines {
            coverage.compared(file);
        }
    }
}

fn compare_seen(
    file: &str,
    number: usize,
    line: &Json,
    at: Duration,
    seen: &[(Duration, BTreeMap<String, Json>)],
) {
    let path = text(line, "path");
    let recorded = line.get("resp").unwrap();
    let near = seen
        .iter()
        .filter(|(time, _)| time.abs_diff(at) <= Duration::from_millis(1100));
    let mut differences: Vec<String> = Vec::new();
    for (_, answers) in near {
        let Some(got) = answers.get(&path) else { continue };
        match difference(recorded, got, true) {
            None => return,
            Some(difference) => differences.push(difference),
        }
    }
    differences.dedup();
    panic!(
        "{file}:{}: GET {path} at {at:?}: differs at every moment within a second: {differences:#?}",
        number + 1
    );
}
