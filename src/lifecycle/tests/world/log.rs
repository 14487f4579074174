//! What the modelled Supervisor's log says.

use super::{Line, World};
use crate::lifecycle::progress::fact::{LogFact, PullFailure};

impl World {
    /// The image of Onebox in the Supervisor's target.
    pub(crate) fn onebox_image(&self) -> String {
        let target = self.target.as_ref();
        target.map_or_else(String::new, |release| release.services["onebox"].image.clone())
    }

    pub(super) fn log_fact(&self, line: Line) -> LogFact {
        let (image, service) = (self.onebox_image(), "onebox".to_owned());
        let failed = |failure| LogFact::PullFailed {
            image: image.clone(),
            failure,
            message: format!("{failure:?}"),
        };
        match line {
            Line::Opened => LogFact::Opened,
            Line::Lost => LogFact::Lost,
            Line::PullBegan => LogFact::PullBegan { image },
            Line::PullDone => LogFact::PullDone { image },
            Line::Missing => failed(PullFailure::NotFound),
            Line::Away => failed(PullFailure::RegistryAway),
            Line::DiskFull => failed(PullFailure::DiskFull),
            Line::Locked => LogFact::Locked {
                service: Some(service),
                retry_millis: 8000,
            },
            Line::Stopping => LogFact::Stopping { service },
            Line::Starting => LogFact::Starting { service },
            Line::Started => LogFact::Started { service },
        }
    }
}
