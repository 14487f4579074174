//! What holds for every value.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn no_secret_is_shown(seed: u8, key in "[a-z0-9]{24}", index in 0..SPECS.len(), cut in 0usize..40) {
        let token = token(TokenKind::Join, seed);
        let secret = &token.expose()[15..58];
        // In its own key, cut off, and pasted into every other key, alone and inside an address.
        let pasted = SPECS[index].env;
        for text in [
            token.expose().to_owned(),
            token.expose()[..token.expose().len() - cut].to_owned(),
            format!("https://user:{}@c.example", token.expose()),
            format!("http://127.0.0.1:80/?key={key}"),
        ] {
            let env = [
                ("BASEOS_JOIN_TOKEN", token.expose()),
                ("BALENA_SUPERVISOR_ADDRESS", "http://s:1"),
                ("BALENA_SUPERVISOR_API_KEY", key.as_str()),
                ("BASEOS_LOG_FORMAT", "invalid"),
            ];
            let overrides = Overrides::default();
            let file = format!("join_token = '{text}'");
            let valid = load_all(&file, &env[..3], &overrides).unwrap();
            let mut shown = format!("{valid:?} {:?}", valid.effective());
            let with_pasted: Vec<_> = env.iter().copied().filter(|(name, _)| *name != pasted)
                .chain((pasted != "BASEOS_CONFIG").then_some((pasted, text.as_str()))).collect();
            let environment: Environment = with_pasted.iter().copied().collect();
            shown += &format!("{environment:?} {:?}", environment.layer());
            match load_all(&file, &with_pasted, &overrides) {
                Ok(settings) => shown += &format!("{:?}", settings.effective()),
                Err(errors) => shown += &format!("{errors} {errors:?}"),
            }
            prop_assert!(!shown.contains(&secret[..20]), "{}", shown);
            prop_assert!(!shown.contains(&key), "{}", shown);
        }
    }

    #[test]
    fn no_value_makes_loading_panic(index in 0..SPECS.len(), text in "\\PC*", file in "\\PC*") {
        let _ = load_all(&file, &[(SPECS[index].env, &text)], &Overrides::default());
    }

    #[test]
    fn sizes_are_parsed_with_and_without_a_unit(number in 0u64..1 << 32) {
        prop_assert_eq!(parse::bytes(&format!("{number}MiB")), Ok(number << 20));
        prop_assert_eq!(parse::bytes(&format!("{number} kB")), Ok(number * 1000));
        prop_assert_eq!(parse::bytes(&number.to_string()), Ok(number));
    }
}
