//! The Supervisor's messages about an invalid target, with the texts of u05-body-matrix.

use crate::json::Json;

/// One line for each member of a device's v3 target that is wrong.
pub(crate) fn v3(device: &Json, device_uuid: &str) -> Vec<String> {
    let mut check = Check {
        path: vec![device_uuid.to_owned()],
        errors: Vec::new(),
    };
    check.within("name", |check| check.short_string(device.get("name")));
    check.within("config", |check| {
        check.texts(device.get("config"), "{ [K in EnvVarName]: string }", |_| None);
    });
    for (uuid, app) in device.get("apps").map(Json::members).unwrap_or_default() {
        check.within("apps", |check| check.within(uuid, |check| check.app(app)));
    }
    check.errors
}

struct Check {
    path: Vec<String>,
    errors: Vec<String>,
}

impl Check {
    fn within(&mut self, name: &str, then: impl FnOnce(&mut Self)) {
        self.path.push(name.to_owned());
        then(self);
        self.path.pop();
    }

    fn expected(&mut self, what: &str, got: Option<&Json>, why: Option<&str>) {
        let got = got.map_or_else(|| "undefined".to_owned(), Json::to_text);
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        let at = self.path.join(".");
        self.errors
            .push(format!("Expecting {what} at {at} but instead got: {got}{why}"));
    }

    fn app(&mut self, app: &Json) {
        // The `0` is in the real texts: the codec is an intersection, and this is its first part.
        self.within("0", |check| {
            check.within("id", |check| check.id(app.get("id")));
            check.within("name", |check| check.short_string(app.get("name")));
            for (commit, release) in app.get("releases").map(Json::members).unwrap_or_default() {
                check.within("releases", |check| {
                    check.within(commit, |check| check.release(release));
                });
            }
        });
    }

    /// Members are checked in alphabetical order (u04-post-back).
    fn release(&mut self, release: &Json) {
        self.within("id", |check| check.id(release.get("id")));
        self.within("networks", |check| {
            check.dictionary(release.get("networks"), "Network");
        });
        for (name, service) in release.get("services").map(Json::members).unwrap_or_default() {
            self.within("services", |check| {
                check.within(name, |check| check.within("0", |check| check.service(service)));
            });
        }
        self.within("volumes", |check| {
            check.dictionary(release.get("volumes"), "Volume");
        });
    }

    fn service(&mut self, service: &Json) {
        self.within("environment", |check| {
            check.texts(
                service.get("environment"),
                "{ [K in EnvVarName]: string }",
                env_var_name,
            );
        });
        self.within("id", |check| check.id(service.get("id")));
        self.within("image", |check| check.short_string(service.get("image")));
        self.within("image_id", |check| check.id(service.get("image_id")));
        self.within("labels", |check| {
            check.texts(service.get("labels"), "{ [K in LabelName]: string }", label_name);
        });
    }

    /// The value may be missing.
    fn dictionary(&mut self, value: Option<&Json>, of: &str) {
        if value.is_some_and(|value| !matches!(value, Json::Object(_))) {
            self.expected(&format!("{{ [K in LabelName]: {of} }}"), value, None);
        }
    }

    fn id(&mut self, value: Option<&Json>) {
        match value {
            Some(Json::Number(_) | Json::String(_)) => {
                if value.and_then(Json::as_id).is_none() {
                    self.expected("NumericIdentifier", value, Some("must be be an positive integer"));
                }
            }
            _ => {
                self.within("0", |check| check.expected("number", value, None));
                self.within("1", |check| check.expected("string", value, None));
            }
        }
    }

    fn short_string(&mut self, value: Option<&Json>) {
        match value.and_then(Json::as_str) {
            None => self.expected("ShortString", value, None),
            Some(text) if text.chars().count() > 255 => {
                self.expected("ShortString", value, Some("must be at most 255 chars long"));
            }
            Some(_) => {}
        }
    }

    fn texts(&mut self, value: Option<&Json>, what: &str, name: impl Fn(&str) -> Option<(&str, &str)>) {
        let Some(Json::Object(members)) = value else {
            return self.expected(what, value, None);
        };
        for (key, value) in members {
            self.within(key, |check| {
                if let Some((what, why)) = name(key) {
                    check.expected(what, Some(&key.as_str().into()), Some(why));
                }
                if value.as_str().is_none() {
                    check.expected("string", Some(value), None);
                }
            });
        }
    }
}

fn label_name(name: &str) -> Option<(&str, &str)> {
    let bad = name
        .chars()
        .any(|c| !c.is_ascii_graphic() || ['"', '\'', '`'].contains(&c));
    let why = "may contain printable ASCII characters except space, single/double quotes and backtick";
    bad.then_some(("LabelName", why))
}

fn env_var_name(name: &str) -> Option<(&str, &str)> {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let rest = chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    let why = "needs to start with a letter and may only contain alphanumeric characters and underscores";
    (!(first && rest)).then_some(("EnvVarName", why))
}
