//! Starts a service, or makes another of one that runs. All that may fail is done first.

use std::sync::Arc;

use tokio::task::JoinSet;
use tracing::info;

use super::ending::Ending;
use super::relay::{self, Relay};
use super::serve::{self, Serve};
use super::spec::{Mode, Spec};
use super::view::Running;
use crate::args::Accepted;
use crate::explain::explain_listen;
use crate::failure::Problem;
use crate::label::Label;
use crate::net::{Listener, Listeners, Place};

/// A service that runs.
pub struct Service {
    kind: Kind,
    fronts: Vec<Front>,
}

#[derive(Clone)]
enum Kind {
    Relay(Arc<Relay>),
    Serve(Arc<Serve>),
}

/// What takes the clients of one address.
pub struct Front {
    pub place: Place,
    shape: Shape,
    pub ending: Arc<Ending>,
    /// As it is bound.
    listens: String,
}

/// What of a front can't change while it runs.
#[derive(Clone, PartialEq, Eq)]
enum Shape {
    Relay,
    Serve { tls: bool, accepted: Accepted },
}

/// A service that is ready to start, or to take the place of one that runs.
pub struct Change {
    spec: Spec,
    plan: Plan,
    /// For the places where nothing is that can stay.
    listeners: Vec<(Place, Listener)>,
}

enum Plan {
    Relay(relay::Plan),
    Serve(serve::Plan),
}

impl Plan {
    fn new(spec: &Spec, old: Option<&Kind>) -> Result<Self, Problem> {
        let label = &spec.label;
        Ok(match (&spec.mode, old) {
            (Mode::Relay(args), Some(Kind::Relay(old))) => {
                Plan::Relay(relay::Plan::new(label, args, Some(&old.plan()))?)
            }
            (Mode::Relay(args), _) => Plan::Relay(relay::Plan::new(label, args, None)?),
            (Mode::Serve(args), Some(Kind::Serve(old))) => {
                Plan::Serve(serve::Plan::new(label, args, Some(&old.plan()))?)
            }
            (Mode::Serve(args), _) => Plan::Serve(serve::Plan::new(label, args, None)?),
        })
    }
}

impl Change {
    /// Finds out whether the service could start, but for its addresses.
    pub fn check(spec: &Spec) -> Result<(), Problem> {
        Plan::new(spec, None).map(drop)
    }

    /// Does what may fail. Nothing has changed then but the listeners that are there.
    pub async fn prepare(
        spec: Spec,
        old: Option<&Service>,
        listeners: &mut Listeners,
    ) -> Result<Self, Problem> {
        let plan = Plan::new(&spec, old.map(|old| &old.kind))?;
        let shape = Shape::of(&spec.mode);
        let mut taken = Vec::new();
        for place in spec.places() {
            if !old.is_some_and(|old| old.keeps(&place, &shape)) {
                let all = listeners.take(&place).await.map_err(|error| {
                    let what = format!("can't listen on {}", place.address);
                    Problem::new("listen", explain_listen(&error)).of(what)
                })?;
                taken.extend(all.into_iter().map(|one| (place.clone(), one)));
            }
        }
        Ok(Change {
            spec,
            plan,
            listeners: taken,
        })
    }

    pub fn label(&self) -> &Label {
        &self.spec.label
    }

    /// Starts it, instead of an old one. Its tasks tell whether they cut something off.
    pub fn commit(self, old: Option<Service>, tasks: &mut JoinSet<bool>) -> Service {
        let shape = Shape::of(&self.spec.mode);
        let places = self.spec.places();
        let (kept, mut fronts) = match old {
            None => (None, Vec::new()),
            Some(old) => (Some(old.kind), old.fronts),
        };
        fronts.retain(|front| {
            let stays = front.shape == shape && places.contains(&front.place);
            if !stays {
                front.ending.retire();
            }
            stays
        });
        let label = self.spec.label;
        let kind = match (self.plan, kept) {
            (Plan::Relay(plan), Some(Kind::Relay(relay))) => {
                relay.change(plan);
                Kind::Relay(relay)
            }
            (Plan::Relay(plan), _) => Kind::Relay(Arc::new(Relay::new(label.clone(), plan))),
            (Plan::Serve(plan), Some(Kind::Serve(serve))) => {
                serve.change(plan);
                Kind::Serve(serve)
            }
            (Plan::Serve(plan), _) => Kind::Serve(Arc::new(Serve::new(label.clone(), plan))),
        };
        for (place, listener) in self.listeners {
            let listens = listener.to_string();
            info!(service = label.field(), address = listens, "listening");
            let ending = Arc::new(Ending::new());
            let (told, open) = (ending.told(), ending.open());
            match kind.clone() {
                Kind::Relay(relay) => tasks.spawn(relay.run(listener, told, open)),
                Kind::Serve(serve) => {
                    let acceptor = serve.plan().acceptor(listener);
                    tasks.spawn(serve.run(acceptor, told, open))
                }
            };
            fronts.push(Front {
                place,
                shape: shape.clone(),
                ending,
                listens,
            });
        }
        Service { kind, fronts }
    }
}

impl Shape {
    fn of(mode: &Mode) -> Self {
        match mode {
            Mode::Relay(_) => Shape::Relay,
            Mode::Serve(args) => Shape::Serve {
                tls: args.tls.is_on(),
                accepted: args.accepted.clone(),
            },
        }
    }
}

impl Service {
    fn keeps(&self, place: &Place, shape: &Shape) -> bool {
        let fits = |front: &Front| front.place == *place && front.shape == *shape;
        self.fronts.iter().any(fits)
    }

    pub fn fronts(&self) -> impl Iterator<Item = &Front> {
        self.fronts.iter()
    }

    pub fn listens_on(&self, place: &Place) -> bool {
        self.fronts.iter().any(|front| front.place == *place)
    }

    /// Takes nobody any more; what is carried goes on.
    pub fn retire(self) {
        for front in self.fronts {
            front.ending.retire();
        }
    }

    /// Whether something is still on its way.
    pub fn carries(&self) -> bool {
        match &self.kind {
            Kind::Relay(relay) => relay.carries(),
            Kind::Serve(_) => false, // its tasks end with the last byte
        }
    }

    pub fn running(&self) -> Running {
        let listen = self.fronts.iter().map(|front| front.listens.clone());
        Running {
            view: match &self.kind {
                Kind::Relay(relay) => relay.clone(),
                Kind::Serve(serve) => serve.clone(),
            },
            listen: listen.collect(),
        }
    }
}
