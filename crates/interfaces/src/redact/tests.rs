use super::*;
use crate::token::{Token, TokenKind};
use proptest::prelude::*;

fn token(kind: TokenKind, seed: u8) -> Token {
    let mut next = seed;
    Token::mint(kind, |bytes| {
        bytes.fill_with(|| {
            next = next.wrapping_mul(113).wrapping_add(57);
            next
        });
    })
}

fn masked(token: &Token) -> String {
    format!("{}{}_***", token.kind().prefix(), token.id())
}

#[test]
fn every_kind_of_token_loses_its_secret_and_keeps_its_id() {
    for kind in TokenKind::ALL {
        let token = token(kind, 7);
        let text = format!("a {} b\"{}\"", token.expose(), token.expose());
        assert_eq!(redact(&text, &[]), format!("a {0} b\"{0}\"", masked(&token)));
    }
}

#[test]
fn a_token_cut_off_or_with_something_behind_or_before_it_is_masked() {
    let token = token(TokenKind::Node, 7);
    let masked = masked(&token);
    assert_eq!(redact(&token.expose()[..30], &[]), masked);
    assert_eq!(
        redact(&format!("{}tail.", token.expose()), &[]),
        format!("{masked}.")
    );
    assert_eq!(
        redact(&format!("sz{}", token.expose()), &[]),
        format!("sz{masked}")
    );
    assert_eq!(
        redact(&format!("szj_{}", token.expose()), &[]),
        format!("szj_{masked}")
    );
}

#[test]
fn what_follows_a_prefix_without_an_id_is_masked_whole() {
    assert_eq!(
        redact("token szj_typo, and szn_abc_def", &[]),
        "token szj_***, and szn_***"
    );
    assert_eq!(redact("szl_0123456789", &[]), "szl_***");
}

#[test]
fn a_key_in_a_url_is_masked_up_to_the_next_parameter() {
    let text = "GET /v1/device?apikey=0123abc&x=1 and ?APIKEY=a.b/c+d=\" end";
    assert_eq!(
        redact(text, &[]),
        "GET /v1/device?apikey=***&x=1 and ?APIKEY=***\" end"
    );
}

#[test]
fn a_text_without_a_secret_is_not_copied() {
    let mut scanner = Scanner::new();
    scanner.learn("a-key-of-the-supervisor");
    for text in [
        "",
        "sz",
        "szn_",
        "a join token starts with `szj_`",
        "szn_0123456789_",
        "szn_0123456789_***",
        "szj_***, apikey=***&x=1, apikey=",
        "szx_0123456789_abc",
        "a-key-of",
        "szj_…",
    ] {
        assert!(matches!(scanner.redact(text), Cow::Borrowed(_)), "{text}");
    }
}

#[test]
fn known_secrets_are_masked_however_they_are_quoted() {
    let mut scanner = Scanner::new();
    let secret = "k\"ey\\with\nodd bits";
    assert_eq!(scanner.learn(&format!(" {secret} ")), Some(0));
    assert_eq!(scanner.redact(&format!("?apikey={secret}&x")), "?apikey=***&x");
    assert_eq!(scanner.redact(&format!("{secret:?}")), "\"***\"");
    let json = serde_json::to_string(secret).unwrap();
    assert_eq!(scanner.redact(&json), "\"***\"");
}

#[test]
fn a_secret_shorter_than_a_word_is_not_learned_but_masked_when_asked() {
    let mut scanner = Scanner::new();
    assert_eq!(scanner.learn("short"), None);
    assert_eq!(scanner.learn("7 bytes"), None);
    assert_eq!(scanner.learn("8 bytes!"), Some(0));
    assert_eq!(scanner.redact("short of breath"), "short of breath");
    assert_eq!(redact("short of breath", &["short", "", " "]), "*** of breath");
}

#[test]
fn secrets_that_overlap_leave_no_rest_of_each_other() {
    assert_eq!(redact("xabcdefy", &["abcd", "cdef"]), "x***y");
    assert_eq!(redact("xabcdy", &["ab", "abcd"]), "x***y");
    // The id of a token is public, but not when it is part of a known secret.
    assert_eq!(redact("szn_0123456789_tail", &["3456789_tail"]), "szn_012***");
    assert_eq!(redact("keyszn_0123456789_tail.", &["keyszn_0"]), "***.");
    assert_eq!(redact("apikey=abcdef", &["apikey=ab"]), "***");
    assert_eq!(redact("szn_xapikey=abc def", &[]), "szn_*** def");
}

#[test]
fn findings_say_what_and_where() {
    let token = token(TokenKind::Join, 3);
    let mut scanner = Scanner::new();
    assert_eq!(scanner.learn("0123456789abcdef"), Some(0));
    assert_eq!(scanner.learn("fedcba9876543210"), Some(1));
    assert_eq!(scanner.learn("0123456789abcdef"), Some(0));
    let text = format!("{} apikey=zz fedcba9876543210 szj_cut", token.expose());
    let kinds: Vec<_> = scanner
        .findings(text.as_bytes())
        .map(|finding| (finding.kind, &text[finding.start..finding.end]))
        .collect();
    let cut = FindingKind::Token {
        kind: TokenKind::Join,
        whole: false,
    };
    let whole = FindingKind::Token {
        kind: TokenKind::Join,
        whole: true,
    };
    assert_eq!(
        kinds,
        [
            (whole, &token.expose()[Token::PUBLIC_LEN..]),
            (FindingKind::KeyParameter, "zz"),
            (FindingKind::Told(1), "fedcba9876543210"),
            (cut, "cut"),
        ]
    );
}

#[test]
fn debug_output_of_a_scanner_holds_no_secret() {
    let mut scanner = Scanner::new();
    scanner.learn("0123456789abcdef");
    assert_eq!(format!("{scanner:?}"), "Scanner { secrets: 1, .. }");
}

/// A text that would take minutes if it were looked at again from each place.
#[test]
fn a_hostile_text_takes_time_linear_in_its_length() {
    for piece in ["apikey=", "szn_a", "szn_0123456789_", "s", "szn_apikey=szj_"] {
        let text = piece.repeat((1 << 20) / piece.len());
        assert!(!redact(&text, &["sssssssssz"]).is_empty());
    }
}

fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("szn_".to_owned()),
        Just("szj_0123456789_".to_owned()),
        Just("apikey=".to_owned()),
        Just("***".to_owned()),
        "[a-zA-Z0-9]{1,12}",
        "\\PC{0,4}",
        Just("\n".to_owned()),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_secret_behind_a_prefix_survives(
        before in "\\PC{0,20}", secret in "[a-zA-Z0-9]{8,60}", after in "\\PC{0,20}", id: bool,
    ) {
        prop_assume!(!before.contains(&secret) && !after.contains(&secret));
        let prefixes = TokenKind::ALL.map(TokenKind::prefix);
        for prefix in prefixes.into_iter().chain(["apikey="]) {
            let id = if id && prefix != "apikey=" { "0123456789_" } else { "" };
            prop_assume!(!secret.contains("0123456789"));
            let clean = redact(&format!("{before}{prefix}{id}{secret} {after}"), &[]).into_owned();
            prop_assert!(!clean.contains(&secret), "{}", clean);
        }
    }

    #[test]
    fn a_known_secret_never_survives(before in any_text(), secret in "\\PC{8,40}", after in any_text()) {
        let secret = secret.trim();
        prop_assume!(secret.len() >= Scanner::SHORTEST_SECRET && !secret.contains("***"));
        let text = format!("{before}{secret}{after}{secret}");
        let clean = redact(&text, &[secret]).into_owned();
        prop_assert!(!clean.contains(secret), "{}", clean);
    }

    #[test]
    fn redacting_twice_changes_nothing_more(text in any_text()) {
        let once = redact(&text, &[]).into_owned();
        prop_assert_eq!(redact(&once, &[]).into_owned(), once);
    }

    #[test]
    fn findings_are_in_order_and_all_that_is_taken_out(text in any_text(), secret in "[a-z0-9_]{1,6}") {
        let mut scanner = Scanner::new();
        scanner.learn_any(&secret);
        let mut rest = String::new();
        let mut at = 0;
        for finding in scanner.findings(text.as_bytes()) {
            prop_assert!(at <= finding.start && finding.start < finding.end);
            rest.push_str(&text[at..finding.start]);
            rest.push_str(MASK);
            at = finding.end;
        }
        rest.push_str(&text[at..]);
        prop_assert_eq!(scanner.redact(&text).into_owned(), rest);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut scanner = Scanner::new();
        scanner.learn("sz_sz_sz_");
        let _ = scanner.redact_bytes(&bytes);
        let _ = scanner.findings(&bytes).count();
    }
}
