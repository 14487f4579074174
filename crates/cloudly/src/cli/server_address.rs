//! Where the server is, as `--url` says it.

use reqwest::Url;

/// The address of a server, with the path below which a proxy serves it. Else why it is none, and what would be right.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    // The text may hold a password.
    let hidden = text.split_once("://").filter(|(_, rest)| rest.contains('@'));
    let shown = hidden.map_or_else(|| text.to_owned(), |(scheme, _)| format!("{scheme}://…"));
    usable(text).map_err(|wrong| {
        format!("`{shown}` (`--url` or CLOUDLY_URL) is not the address of a Cloudly: {wrong}")
    })
}

fn usable(text: &str) -> Result<Url, String> {
    let Some((scheme, _)) = text.split_once("://") else {
        return Err("it must begin with https:// or http://, e.g. http://127.0.0.1:8080".to_owned());
    };
    if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
        return Err(format!(
            "it is reached by https or http, not by {scheme}; use e.g. https://cloudly.example.com"
        ));
    }
    let url = Url::parse(text).map_err(|error| format!("{error}; use e.g. http://127.0.0.1:8080"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "leave out user and password: the admin token comes from a file (`--token-file`)".to_owned(),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("leave out what begins with `?` or `#`".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_address_that_leads_to_no_server_is_refused_with_what_would_be_right() {
        for (text, says) in [
            ("", "must begin with https:// or http://"),
            ("localhost:8080", "must begin with https:// or http://"),
            ("cloudly.example.com", "must begin with https:// or http://"),
            (
                "ftp://cloudly.example.com",
                "by https or http, not by ftp; use e.g. https://cloudly.example.com",
            ),
            ("http://", "use e.g. http://127.0.0.1:8080"),
            ("http://127.0.0.1:99999", "use e.g. http://127.0.0.1:8080"),
            (
                "https://me:secret@cloudly.example.com",
                "leave out user and password",
            ),
            (
                "https://cloudly.example.com/?a=1",
                "leave out what begins with `?`",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says) && error.contains("--url"), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        for text in ["http://127.0.0.1:8080", "HTTPS://cloudly.example.com/below/"] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }
}
