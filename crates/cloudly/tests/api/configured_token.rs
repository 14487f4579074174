//! `baseosJoinToken`: a join token from the configuration.

use crate::each_engine;
use crate::support::{Cloudly, Engine, start_time};
use baseos_interfaces::token::{Token, TokenKind};
use cloudly_baseos::{Clock, Settings};
use rstest_reuse::apply;
use secrecy::SecretString;
use tempfile::TempDir;

/// Always the same, so that a restart gets it again.
fn configured_token() -> Token {
    Token::mint(TokenKind::Join, |bytes| bytes.fill(0))
}

#[apply(each_engine)]
#[tokio::test]
async fn the_configured_token_is_valid_for_a_day_from_its_first_start(engine: Engine) {
    let mut cloudly = Cloudly::start_with(engine, |settings| {
        settings.baseos_join_token = Some(SecretString::from(configured_token().expose()));
        settings.baseos_join_token_uses = 2;
    })
    .await;
    assert_eq!(
        cloudly
            .register(configured_token().expose(), "reg-1")
            .await
            .status(),
        201
    );
    cloudly.clock.advance(23 * 3600);
    cloudly.restart().await;
    assert_eq!(
        cloudly
            .register(configured_token().expose(), "reg-2")
            .await
            .status(),
        201
    );
    cloudly.clock.advance(3600);
    cloudly.restart().await;
    assert_eq!(
        cloudly
            .register(configured_token().expose(), "reg-3")
            .await
            .status(),
        401
    );
}

#[tokio::test]
async fn a_malformed_configured_token_prevents_the_start() {
    let dir = TempDir::new().unwrap();
    let mut settings = Settings::new(dir.path().join("c.db"));
    let typo = configured_token().expose().replace("0_0", "0_1");
    settings.baseos_join_token = Some(SecretString::from(typo.as_str()));
    let clock = Clock::manual(start_time());
    let error = Cloudly::bind(settings, clock).await.err().unwrap().to_string();
    assert!(error.contains("CLOUDLY_BASEOS_JOIN_TOKEN"), "{error}");
    assert!(!error.contains(&typo));
}
