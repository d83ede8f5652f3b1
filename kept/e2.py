import sys; sys.path.insert(0,'/tmp/adapt')
from exp import *
from combiner_cli.priors import library
import glob, warnings; warnings.filterwarnings('ignore')
sys.path.insert(0,'/work/main/benchmarks')
prior=library.find("photo-8")
sets=[s.split("+") for s in sys.argv[1].split(",")]; iters=int(sys.argv[2]); ntrain=int(sys.argv[3]); crop=int(sys.argv[4])
rng=np.random.default_rng(1)
def crops(folder,n,side):
    fs=sorted(glob.glob(folder)); fs=[fs[i] for i in rng.permutation(len(fs))[:n]]
    out=[]
    for f in fs:
        a=np.asarray(Image.open(f).convert('RGB')); y=rng.integers(a.shape[0]-side+1); x=rng.integers(a.shape[1]-side+1)
        out.append((a[y:y+side,x:x+side], int(rng.integers(20,60))))
    return out
train=crops('/work/shared/data/photos/train/*',ntrain,crop); val=crops('/work/shared/data/photos/val/*',8,384)
INIT={"b1":.1,"b2":.1,"b3":.1,"g1":.1,"g2":.1,"w3":.03,"lin":.01}
def fit(nets, sd, state, steps, stride, lr=0.08):
    names=[(k,n) for k in nets for n in sd[k]]
    if state is None: state={kn:(torch.zeros_like(sd[kn[0]][kn[1]]), 0.5*sd[kn[0]][kn[1]]) for kn in names}
    W={kn:(state[kn][0]/sd[kn[0]][kn[1]]).requires_grad_(True) for kn in names}
    R={kn:torch.log(state[kn][1]/sd[kn[0]][kn[1]]).requires_grad_(True) for kn in names}
    opt=torch.optim.Adam([{"params":list(W.values()),"lr":lr},{"params":list(R.values()),"lr":lr}],betas=(.9,.95))
    zero={k:net.params() for k,net in nets.items()}
    def kl(): return sum((0.5*(torch.exp(2*R[kn])+W[kn]**2-1)-R[kn]).sum() for kn in names)/math.log(2)
    def total(sample, stride, off):
        e=0
        for k,net in nets.items():
            st=stride if net.n>4000 else 1
            p={n:zero[k][n] for n in ("b1","b2","b3")}
            for n in sd[k]:
                z=W[k,n]
                if sample: z=z+torch.exp(R[k,n])*torch.randn_like(z)
                p[n]=z*sd[k][n]
            a,b=net.cost(p,slice(off%st,None,st)); e=e+st*(a+b)
        return e
    for i in range(steps):
        for g in opt.param_groups: g["lr"]=lr*min(1,2*(1-i/steps))
        opt.zero_grad(); (total(True,stride,i*7)+kl()).backward(); opt.step()
    with torch.no_grad():
        c1=float(total(True,1,0)); k1=float(kl())
    return {kn:(W[kn].detach()*sd[kn[0]][kn[1]], torch.exp(R[kn].detach())*sd[kn[0]][kn[1]]) for kn in names}, c1, k1
def base(nets):
    with torch.no_grad(): return float(sum(sum(net.cost({n:q for n,q in net.params().items() if n in("b1","b2","b3")})) for net in nets.values()))
valnets=[record(prior,a,l)[1] for a,l in val]
b0=[base(n) for n in valnets]
for which in sets:
    t=time.time(); sd=None; states=[None]*len(train)
    for it in range(iters):
        acc={}; tot=0;kls=0;b=0
        for i,(a,l) in enumerate(train):
            sim,nets=record(prior,a,l)
            if sd is None: sd={k:{n:torch.full_like(net.params()[n],INIT[n]) for n in which} for k,net in nets.items()}
            states[i],c1,k1=fit(nets,sd,states[i],60 if it==0 else 30,4)
            b+=base(nets); tot+=c1; kls+=k1
            for kn,(m,s) in states[i].items(): acc[kn]=acc.get(kn,0)+m**2+s**2
        for k,n in acc:
            new=torch.sqrt(acc[k,n]/len(train)); sd[k][n]=new.clamp(min=1e-4)
        print("+".join(which),"it",it,"train net %.2f %% kl %.0f bytes, %.0fs"%(100*((tot+kls)/b-1),kls/8/len(train),time.time()-t),flush=True)
    g=[]
    for (a,l),nets,bb in zip(val,valnets,b0):
        _,c1,k1=fit(nets,sd,None,60,2); g.append((100*(c1/bb-1),100*((c1+k1)/bb-1),k1/8,l))
    g=np.array(g); print("   VAL gross %.2f net %.2f %% kl %.0f B"%tuple(g[:,:3].mean(0)), np.round(g[:,1],2).tolist(), g[:,3].tolist(),flush=True)
    print("   sd", {f"{k[0]}.{k[1]}.{n}":round(float(torch.sqrt((q**2).mean())),4) for k in sd for n,q in sd[k].items() if k[0] in(0,1,3) and k[1] in("luma_0","luma_activity","chroma_0")})
